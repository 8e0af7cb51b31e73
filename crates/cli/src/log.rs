//! Logging to the switch's syslog, in the form its rsyslog expects; inside an image, where there is none, to standard
//! error, which the image's supervisor carries to the host.
//!
//! A planned stop logs nothing at ERR: test suites on switches fail on any such line (buildimage #28546).

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Facility `user`, as Python's and the shell's loggers on a switch use.
const FACILITY: u8 = 1;

/// What says how much is logged: `debug` for all that we have to say, such as what the agent woke up for.
const LEVEL: &str = "SWITCHYARD_LOG";

/// How long a line waits for a syslog that is behind: a burst fills its queue for a moment.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// Sends events of level info and above to syslog under this name.
pub(crate) fn begin(name: &str) {
    let syslog = Syslog::behind(Path::new("/dev/log")).ok();
    let most = if std::env::var_os(LEVEL).is_some_and(|level| level == "debug") {
        Level::DEBUG
    } else {
        Level::INFO
    };
    let sink = Sink { name: name.to_owned(), syslog, most };
    // Set once, at the start of main.
    let _ = tracing::subscriber::set_global_default(sink);
}

struct Sink {
    name: String,
    syslog: Option<Syslog>,
    most: Level,
}

impl Subscriber for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries have to say concerns nobody at a switch; errors reach us as values.
        *metadata.level() <= self.most && metadata.target().starts_with("switchyard")
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = text.line();
        match &self.syslog {
            Some(syslog) => {
                let priority = FACILITY * 8 + severity(*event.metadata().level());
                let stamp = switchyard_sonic::syslog_time();
                let packet = format!("<{priority}>{stamp} {}[{}]: {line}", self.name, std::process::id());
                syslog.send(packet.as_bytes());
            }
            // An error is told to standard error by main already.
            None if *event.metadata().level() == Level::ERROR => {}
            None => {
                let _ = writeln!(std::io::stderr(), "{}: {line}", self.name);
            }
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The switch's syslog. A full or dead one must not stop a feature from starting.
struct Syslog(UnixDatagram);

impl Syslog {
    fn behind(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(WAIT_MAX))?;
        Ok(Self(socket))
    }

    /// Loses the line if it is not taken in time. After one that was lost none waits until one is taken again.
    fn send(&self, packet: &[u8]) {
        let lost = self.0.send(packet).is_err();
        // One that cannot be told not to wait still waits no longer than the time that was set.
        let _ = self.0.set_nonblocking(lost);
    }
}

fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The message first, then the facts as `key=value`.
#[derive(Default)]
struct Text {
    message: String,
    facts: String,
}

impl Text {
    /// One line, whatever stood in the fields: syslog splits at line ends.
    fn line(&self) -> String {
        format!("{}{}", self.message, self.facts).replace(|c: char| c.is_control(), " ")
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.facts, " {name}={value:?}"),
        };
        // Writing to a String cannot fail.
        let _ = written;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// So many lines fill any queue, and would take far longer than the test may if each waited.
    const MANY: u32 = 3000;

    #[test]
    fn a_syslog_that_reads_nothing_holds_nobody_up_and_gets_what_comes_once_it_reads() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("log");
        let reader = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::behind(&path).unwrap();
        let begun = Instant::now();
        (0..MANY).for_each(|_| syslog.send(b"nobody reads this"));
        assert!(begun.elapsed() < WAIT_MAX * MANY / 20, "it took {:?}", begun.elapsed());

        let mut line = [0; 64];
        reader.set_nonblocking(true).unwrap();
        while reader.recv(&mut line).is_ok() {}
        syslog.send(b"again");
        let read = reader.recv(&mut line).unwrap();
        assert_eq!(&line[..read], b"again");
    }
}
