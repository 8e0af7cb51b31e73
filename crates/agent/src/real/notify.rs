//! systemd as the agent's own manager: ready, alive, told to end (sd_notify(3)).

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

/// How long a look may take of which systemd was told: longer than an answer of Docker is waited for. Counts while the
/// agent starts.
const LOOK_MAX_US: u32 = 90_000_000;

/// What systemd wants to hear from this process; nothing if it was started by hand.
pub(crate) struct Systemd {
    watchdog: Option<Duration>,
}

impl Systemd {
    /// As the environment says.
    pub(crate) fn from_env() -> Self {
        // Half of what systemd allows, as its manual advises.
        Self { watchdog: sd_notify::watchdog_enabled().map(|time| time / 2) }
    }

    /// How often [`Systemd::alive`] has to be said.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The loop looks at the next thing. That may take a minute with a Docker that hangs, which is no reason to be killed.
    pub(crate) fn looks(&self) {
        self.alive();
        if self.watchdog.is_some() {
            say(NotifyState::ExtendTimeoutUsec(LOOK_MAX_US));
        }
    }

    /// The loop goes round.
    pub(crate) fn alive(&self) {
        if self.watchdog.is_some() {
            say(NotifyState::Watchdog);
        }
    }
}

/// The first look is done.
pub(crate) fn ready() {
    say(NotifyState::Ready);
}

/// A systemd that does not listen is no reason to stop working.
fn say(state: NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}

/// Returns when the process is told to end.
pub(crate) async fn told_to_end() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
