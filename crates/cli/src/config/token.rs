//! Where a token comes from: a terminal that does not show it, standard input, or a file of its owner's alone. Never
//! the command line, which everybody can read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use switchyard_sonic::{TOKEN_MAX, Token};

use super::args::TokenSource;
use crate::click::Stop;
use crate::error::CliError;

/// The token that was asked for.
pub(super) fn read(source: &TokenSource) -> Result<Token, Stop> {
    let text = match &source.token_file {
        Some(path) => from_file(path)?,
        None if source.token_stdin => bounded(io::stdin()).map_err(|error| failed("read", "-", error))?,
        None if rustix::termios::isatty(rustix::stdio::stdin()) => from_terminal()?,
        None => {
            return Err(CliError::Usage(
                "there is no terminal at which to ask for the token: use --token-stdin or --token-file"
                    .to_owned(),
            )
            .into());
        }
    };
    Token::parse(&text).map_err(|error| Stop::refused(&error))
}

fn failed(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Stop {
    CliError::File { action, path: path.as_ref().to_owned(), source }.into()
}

fn from_file(path: &Path) -> Result<String, Stop> {
    let file = File::open(path).map_err(|error| failed("read", path, error))?;
    let about = file.metadata().map_err(|error| failed("read", path, error))?;
    // A pipe has no readers but us.
    if about.is_file() && about.permissions().mode() & 0o077 != 0 {
        return Err(Stop::refused(&format!("others may read {0}: chmod 600 {0}", path.display())));
    }
    bounded(file).map_err(|error| failed("read", path, error))
}

/// No more than it takes to see that it is too much. What is no text is no token either, and is told as such.
fn bounded(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(u64::try_from(TOKEN_MAX).unwrap_or(u64::MAX) * 2).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn from_terminal() -> Result<String, Stop> {
    let line = silently(|| {
        // Asked only now that nothing is shown any more: an answer can come quickly.
        let _ = write!(io::stderr(), "Token: ");
        typed(io::stdin().lock().bytes())
    });
    let _ = writeln!(io::stderr());
    line.map_err(|error| failed("read", "the terminal", error))?
        .ok_or_else(|| Stop::refused(&"nothing was given: the token is as it was"))
}

/// Asks a person something that others at the screen must not see.
fn silently<T>(question: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _silence = Silence::begin()?;
    question()
}

/// A terminal that shows nothing and sends no signals, so that it is never left like that: ^C comes as a byte.
struct Silence {
    before: Termios,
}

impl Silence {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(terminal())?;
        let mut silent = before.clone();
        silent.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(terminal(), OptionalActions::Flush, &self.before);
    }
}

fn terminal() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// A line with what was taken back taken back; nothing if the person gave up.
fn typed(keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<Option<String>> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const CLEAR: u8 = 0x15;
    const QUIT: u8 = 0x1c;
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\n' | b'\r' => return Ok(Some(String::from_utf8_lossy(&line).into_owned())),
            INTERRUPT | END | QUIT => return Ok(None),
            0x08 | 0x7f => drop(line.pop()),
            CLEAR => line.clear(),
            // One more than a token may have is enough to refuse it.
            key if line.len() <= TOKEN_MAX => line.push(key),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(keys: &str) -> Option<String> {
        typed(keys.bytes().map(Ok)).unwrap()
    }

    #[test]
    fn a_line_is_what_was_typed_and_not_taken_back() {
        assert_eq!(after("abc.def\n").as_deref(), Some("abc.def"));
        assert_eq!(after("wrong\u{15}abx\u{7f}c\u{8}c\rmore").as_deref(), Some("abc"));
        assert_eq!(after("\u{7f}\n").as_deref(), Some(""));
        for given_up in ["abc\u{3}", "\u{4}", "ab\u{1c}c\n", "hung up"] {
            assert_eq!(after(given_up), None);
        }
        assert_eq!(after(&("x".repeat(100_000) + "\n")).unwrap().len(), TOKEN_MAX + 1);
    }
}
