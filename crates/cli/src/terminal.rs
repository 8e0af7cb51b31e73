//! Asking the person at the terminal: questions with an answer, and secrets that nobody at the screen sees.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::BorrowedFd;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Whether there is anybody to ask.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal()
}

/// Asks a question that is answered by yes or no; anything but a yes is a no.
pub(crate) fn confirmed(question: &str) -> io::Result<bool> {
    // Best effort: if it cannot be shown, the answer will hardly be a yes.
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().lock().take(64).read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a secret of at most `max` characters; one that is longer is given with one character more, so that it can be
/// refused. Nothing if the person gave up.
pub(crate) fn secret(prompt: &str, max: usize) -> io::Result<Option<String>> {
    let line = Silence::begin().and_then(|_silence| {
        // Asked only now that nothing is shown any more: an answer can come quickly.
        let _ = write!(io::stderr(), "{prompt}: ");
        typed(io::stdin().lock().bytes(), max)
    });
    let _ = writeln!(io::stderr());
    line
}

/// What comes on standard input or from a file, but no more than it takes to see that it is too much. What is no text
/// is no secret either, and is told as such.
pub(crate) fn bounded(from: impl Read, max: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(u64::try_from(max).unwrap_or(u64::MAX) * 2).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
fn typed(keys: impl Iterator<Item = io::Result<u8>>, max: usize) -> io::Result<Option<String>> {
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
            // One more than is allowed is enough to refuse it.
            key if line.len() <= max => line.push(key),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 128;

    fn after(keys: &str) -> Option<String> {
        typed(keys.bytes().map(Ok), MAX).unwrap()
    }

    #[test]
    fn a_line_is_what_was_typed_and_not_taken_back() {
        assert_eq!(after("abc.def\n").as_deref(), Some("abc.def"));
        assert_eq!(after("wrong\u{15}abx\u{7f}c\u{8}c\rmore").as_deref(), Some("abc"));
        assert_eq!(after("\u{7f}\n").as_deref(), Some(""));
        for given_up in ["abc\u{3}", "\u{4}", "ab\u{1c}c\n", "hung up"] {
            assert_eq!(after(given_up), None);
        }
        assert_eq!(after(&("x".repeat(100_000) + "\n")).unwrap().len(), MAX + 1);
    }

    #[test]
    fn no_more_is_read_than_shows_that_it_is_too_much() {
        assert_eq!(bounded(io::repeat(b'x'), MAX).unwrap().len(), 2 * MAX);
    }
}
