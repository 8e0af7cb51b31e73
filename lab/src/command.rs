//! Runs programs of this machine and tells what happened in words that name the program.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What a program said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 128 and the signal's number if a signal ended it, as a shell counts.
    pub status: i32,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

impl Output {
    /// Whether the program ended with 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Standard output without the white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }
}

/// Runs a program to its end, whatever the end is.
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<Output> {
    finish(program, Command::new(program).args(args).stdin(Stdio::null()))
}

/// Runs a program and gives its trimmed output; anything but success is an error that quotes it.
pub fn ok<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<String> {
    let output = run(program, args)?;
    if !output.success() {
        let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
        bail!("`{program} {}` ended with {}: {}", args.join(" "), output.status, last_words(&output));
    }
    Ok(output.text().to_owned())
}

/// Runs a prepared command to its end.
pub(crate) fn finish(name: &str, command: &mut Command) -> Result<Output> {
    use std::os::unix::process::ExitStatusExt;

    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    let signal = output.status.signal().map_or(-1, |signal| 128 + signal);
    Ok(Output {
        status: output.status.code().unwrap_or(signal),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The last lines of what a program had to say, for an error message.
pub(crate) fn last_words(output: &Output) -> String {
    let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    let lines: Vec<&str> = said.trim().lines().collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}

/// Does something that takes a while, and says so: what, and how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut stderr = std::io::stderr();
    // Talk is best effort: a closed terminal must not stop the work.
    let _ = write!(stderr, "  {what} … ");
    let start = Instant::now();
    let result = work();
    let end = if result.is_ok() { "" } else { " (failed)" };
    let _ = writeln!(stderr, "{:.1} s{end}", start.elapsed().as_secs_f64());
    result
}
