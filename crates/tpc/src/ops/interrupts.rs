//! SIGHUP, SIGINT and SIGTERM while an operation is under way: an SSH session that drops, Ctrl-C, a shutdown.
//!
//! To die of one between two steps would leave a container down until the next command or boot. So they are noted, and
//! seen to between the steps: what is not decided is undone, what is decided is finished. Only what stops nothing, a
//! download, the check of a backup or the writing of an export, is given up at once. Who does nothing step by step, as
//! `list`, dies of them as ever.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::OpsError;

/// Listens from its making on; a signal that came once stays noted.
pub(super) struct Interrupts {
    heard: Vec<(SignalKind, Signal)>,
    noted: Option<SignalKind>,
}

impl Interrupts {
    pub(super) fn listen() -> std::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
        // Whoever started us with nohup means it.
        let kinds = kinds.into_iter().filter(|kind| !is_ignored(&status, *kind));
        let heard = kinds.map(|kind| Ok((kind, signal(kind)?))).collect::<std::io::Result<_>>()?;
        Ok(Self { heard, noted: None })
    }

    /// The signal that has come, if one has.
    pub(super) async fn noted(&mut self) -> Option<OpsError> {
        /// Signals are handed on when the runtime looks for events, which it does when there is something to wait for.
        const LOOK: Duration = Duration::from_millis(1);
        tokio::time::timeout(LOOK, self.wait()).await.ok()
    }

    /// Returns when one comes, or has come.
    pub(super) async fn wait(&mut self) -> OpsError {
        let kind = match self.noted {
            Some(kind) => kind,
            None => poll_fn(|context| self.poll(context)).await,
        };
        self.noted = Some(kind);
        OpsError::Interrupted(kind.as_raw_value())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<SignalKind> {
        for (kind, signal) in &mut self.heard {
            if signal.poll_recv(context).is_ready() {
                return Poll::Ready(*kind);
            }
        }
        Poll::Pending
    }
}

/// Whether a signal was ignored before we began, as the kernel's status of this process has it.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// Work that may be given up anywhere.
pub(super) async fn or_interrupted<T, E: Into<OpsError>>(
    interrupts: &mut Option<Interrupts>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, OpsError> {
    let Some(interrupts) = interrupts else { return work.await.map_err(Into::into) };
    tokio::select! {
        done = work => done.map_err(Into::into),
        error = interrupts.wait() => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_nohup_ignores_is_left_ignored() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(is_ignored(status, SignalKind::hangup()));
        assert!(!is_ignored(status, SignalKind::interrupt()) && !is_ignored(status, SignalKind::terminate()));
        assert!(!is_ignored("", SignalKind::hangup()));
    }
}
