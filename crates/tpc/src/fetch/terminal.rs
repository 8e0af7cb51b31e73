//! Progress for people: one line that is written anew on a terminal, a line now and then anywhere else.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::Progress;

/// Often enough to look alive, seldom enough for a serial console.
const ON_TERMINAL: Duration = Duration::from_millis(200);
/// In a log, a line each tenth is enough, and one when it takes long.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Writes to the standard error.
pub struct Terminal<W: Write + Send = std::io::Stderr> {
    out: W,
    /// On a terminal one line is written anew; elsewhere each is a line.
    in_place: bool,
    what: String,
    done: u64,
    total: Option<u64>,
    /// Where this connection began, for the speed.
    from: (Instant, u64),
    drawn: Option<Instant>,
    is_open: bool,
}

impl Terminal {
    /// Shows the progress of something on the standard error.
    pub fn new(what: &str) -> Self {
        let out = std::io::stderr();
        let is_terminal = out.is_terminal();
        Self::on(out, is_terminal, what)
    }
}

impl<W: Write + Send> Terminal<W> {
    fn on(out: W, is_terminal: bool, what: &str) -> Self {
        let what = what.to_owned();
        let from = (Instant::now(), 0);
        Self { out, in_place: is_terminal, what, done: 0, total: None, from, drawn: None, is_open: false }
    }

    fn draw(&mut self, now: Instant) {
        let line =
            line(&self.what, self.done, self.total, now - self.from.0, self.done.saturating_sub(self.from.1));
        // What cannot be shown is not worth failing for.
        let _ = if self.in_place { write!(self.out, "\r{line}\x1b[K") } else { writeln!(self.out, "{line}") };
        let _ = self.out.flush();
        (self.drawn, self.is_open) = (Some(now), self.in_place);
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.is_open) {
            let _ = writeln!(self.out);
        }
    }
}

impl<W: Write + Send> Progress for Terminal<W> {
    fn total(&mut self, bytes: Option<u64>) {
        self.total = bytes;
    }

    fn position(&mut self, bytes: u64) {
        self.done = bytes;
        self.from = (Instant::now(), bytes);
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        let now = Instant::now();
        let pause = if self.in_place { ON_TERMINAL } else { ELSEWHERE };
        let is_due = now.duration_since(self.drawn.unwrap_or(self.from.0)) >= pause;
        if is_due || self.total == Some(self.done) {
            self.draw(now);
        }
    }

    fn message(&mut self, text: &str) {
        self.end_line();
        let _ = writeln!(self.out, "{text}");
    }
}

impl<W: Write + Send> Drop for Terminal<W> {
    fn drop(&mut self) {
        self.end_line();
    }
}

fn line(what: &str, done: u64, total: Option<u64>, time: Duration, since: u64) -> String {
    let mut line = format!("{what}: {}", size(done));
    if let Some(total) = total.filter(|total| *total > 0) {
        let _ =
            write!(line, " of {} ({} %)", size(total), u128::from(done.min(total)) * 100 / u128::from(total));
    }
    let milliseconds = time.as_millis();
    if milliseconds > 0 && since > 0 {
        let speed = u64::try_from(u128::from(since) * 1000 / milliseconds).unwrap_or(u64::MAX);
        let _ = write!(line, ", {}/s", size(speed));
        if let Some(left) =
            total.map(|total| total.saturating_sub(done)).filter(|left| *left > 0 && speed > 0)
        {
            let seconds = left / speed;
            let _ = match seconds {
                0..60 => write!(line, ", {seconds} s left"),
                _ => write!(line, ", {} min {} s left", seconds / 60, seconds % 60),
            };
        }
    }
    line
}

fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    let tenths = bytes / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_bytes_percent_speed_and_the_time_that_is_left() {
        let told = line("nginx.tar", 50_000_000, Some(200_000_000), Duration::from_secs(5), 5_000_000);
        assert_eq!(told, "nginx.tar: 50.0 MB of 200.0 MB (25 %), 1.0 MB/s, 2 min 30 s left");
        assert_eq!(line("x", 999, None, Duration::ZERO, 999), "x: 999 B");
        assert_eq!(line("x", 0, Some(0), Duration::from_secs(1), 0), "x: 0 B");
        assert_eq!(line("x", u64::MAX, Some(1), Duration::from_secs(1), 1).matches('%').count(), 1);
    }

    #[test]
    fn a_terminal_gets_one_line_and_a_log_whole_ones() {
        let shown = |is_terminal| {
            let mut out = Vec::new();
            let mut terminal = Terminal::on(&mut out, is_terminal, "x");
            terminal.total(Some(2000));
            terminal.advance(2000);
            terminal.message("again");
            drop(terminal);
            String::from_utf8(out).unwrap()
        };
        assert!(shown(true).starts_with("\rx: 2.0 kB of 2.0 kB (100 %)"), "{:?}", shown(true));
        assert!(shown(true).ends_with("\x1b[K\nagain\n"), "{:?}", shown(true));
        assert!(!shown(false).contains(['\r', '\x1b']), "{:?}", shown(false));
        assert_eq!(shown(false).lines().count(), 2);
    }
}
