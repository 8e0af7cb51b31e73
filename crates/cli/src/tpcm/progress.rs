//! How far it is: on a terminal one line that is drawn anew, elsewhere now and then a line of its own.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use switchyard_core::tpc::human;
use switchyard_tpc::fetch::Progress;

use crate::output::tell;

/// A person sees movement at this pace, and a slow serial console can keep up with it.
const REDRAW: Duration = Duration::from_millis(500);
/// In a log, so often is enough.
const SAY: Duration = Duration::from_secs(10);

/// Tells it on standard error.
pub(super) struct Teller {
    on_terminal: bool,
    quiet: bool,
    begun: Instant,
    said: Instant,
    total: Option<u64>,
    done: u64,
    /// A line is drawn that is not ended yet.
    drawn: bool,
}

impl Teller {
    /// One that is to be `quiet` says only what is no progress.
    pub(super) fn new(quiet: bool) -> Self {
        let now = Instant::now();
        let on_terminal = std::io::stderr().is_terminal();
        Self { on_terminal, quiet, begun: now, said: now, total: None, done: 0, drawn: false }
    }

    fn pace(&self) -> Duration {
        if self.on_terminal { REDRAW } else { SAY }
    }

    fn draw(&mut self) {
        let line = line(self.done, self.total, self.begun.elapsed());
        if self.on_terminal {
            // To the line's end, so that nothing of a longer one is left.
            let _ = write!(std::io::stderr(), "\r{line}\u{1b}[K");
            let _ = std::io::stderr().flush();
            self.drawn = true;
        } else {
            tell(&line);
        }
    }

    /// Ends the line that is drawn, if there is one.
    fn end_line(&mut self) {
        if std::mem::take(&mut self.drawn) {
            tell("");
        }
    }
}

impl Progress for Teller {
    fn total(&mut self, bytes: Option<u64>) {
        self.end_line();
        let now = Instant::now();
        (self.total, self.done, self.begun, self.said) = (bytes, 0, now, now);
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        let ended = self.total == Some(self.done);
        if !self.quiet && (self.said.elapsed() >= self.pace() || (ended && self.drawn)) {
            self.said = Instant::now();
            self.draw();
        }
    }

    fn position(&mut self, bytes: u64) {
        self.done = bytes;
    }

    fn message(&mut self, text: &str) {
        self.end_line();
        tell(text);
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.end_line();
    }
}

/// `12.0M of 40.0M (30%), 2.5M/s, 11 s left`
fn line(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let speed = done.saturating_mul(1000) / millis;
    let rate = format!("{}/s", human(speed));
    match total {
        Some(total) if total > 0 => {
            let percent = done.min(total).saturating_mul(100) / total;
            let left = match total.saturating_sub(done) {
                0 => String::new(),
                rest if speed > 0 => format!(", {} s left", rest.div_ceil(speed)),
                _ => ", stalled".to_owned(),
            };
            format!("  {} of {} ({percent}%), {rate}{left}", human(done), human(total))
        }
        Some(_) | None => format!("  {}, {rate}", human(done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_share_speed_and_time_left() {
        let told = line(10 << 20, Some(40 << 20), Duration::from_secs(5));
        assert!(told.contains("(25%)") && told.ends_with("15 s left"), "{told}");
        let told = line(40 << 20, Some(40 << 20), Duration::from_secs(5));
        assert!(told.contains("(100%)") && told.ends_with("/s"), "{told}");
        assert!(line(0, Some(40), Duration::from_secs(5)).ends_with("stalled"));
        assert!(!line(7, None, Duration::ZERO).contains('%'));
    }
}
