//! The payload as a child: gets our signals, its orphans are reaped, its exit status becomes ours.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use rustix::process::{Pid, Signal as Number, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use crate::error::CliError;

/// What a shell returns for a program that cannot be run.
const NOT_RUN: u8 = 126;

/// Signals that are meant for the payload.
const PASSED_ON: [(SignalKind, Number); 7] = [
    (SignalKind::terminate(), Number::TERM),
    (SignalKind::interrupt(), Number::INT),
    (SignalKind::hangup(), Number::HUP),
    (SignalKind::quit(), Number::QUIT),
    (SignalKind::user_defined1(), Number::USR1),
    (SignalKind::user_defined2(), Number::USR2),
    (SignalKind::window_change(), Number::WINCH),
];

/// Runs the payload until it ends.
pub(super) async fn run(command: &[String]) -> Result<ExitCode, CliError> {
    // Listening begins before the child does, so that no signal falls in between.
    let mut ended = signal(SignalKind::child()).map_err(CliError::Signals)?;
    let mut signals = Vec::new();
    for (kind, number) in PASSED_ON {
        signals.push((signal(kind).map_err(CliError::Signals)?, number));
    }
    let Some((program, arguments)) = command.split_first() else {
        return Err(CliError::Usage("no payload was given".to_owned()));
    };
    let child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(source) => {
            crate::output::tell(&CliError::Exec { program: program.clone(), source }.to_string());
            return Ok(ExitCode::from(NOT_RUN));
        }
    };
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Err(CliError::Failed(program.clone(), "it has no process id".to_owned()));
    };
    loop {
        tokio::select! {
            _ = ended.recv() => if let Some(status) = reap(pid) {
                info!(%program, "payload ended: {status}");
                return Ok(exit_code(status));
            },
            number = next(&mut signals) => {
                // A payload that is gone already is about to be reaped.
                let _ = kill_process(pid, number);
            }
        }
    }
}

/// The next signal that came for the payload.
async fn next(signals: &mut [(Signal, Number)]) -> Number {
    let waiting = signals.iter_mut().map(|(signal, number)| {
        Box::pin(async move {
            signal.recv().await;
            *number
        })
    });
    futures_util::future::select_all(waiting).await.0
}

/// Takes every child that has ended: as a container's first process we inherit those of others. The payload's
/// status, once it is among them.
fn reap(payload: Pid) -> Option<ExitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == payload && is_end(status) {
            found = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
    found
}

fn is_end(status: WaitStatus) -> bool {
    status.exited() || status.signaled()
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
