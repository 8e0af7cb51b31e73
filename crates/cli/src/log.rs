//! Logging to the switch's syslog, in the form its rsyslog expects; inside an image, where there is none, to standard
//! error, which the image's supervisor carries to the host.
//!
//! A planned stop logs nothing at ERR: test suites on switches fail on any such line (buildimage #28546).

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Facility `user`, as Python's and the shell's loggers on a switch use.
const FACILITY: u8 = 1;

/// What says how much is logged: `debug` for all that we have to say, such as what the agent woke up for.
const LEVEL: &str = "SWITCHYARD_LOG";

/// Sends events of level info and above to syslog under this name.
pub(crate) fn begin(name: &str) {
    let socket = UnixDatagram::unbound().ok().filter(|socket| socket.connect("/dev/log").is_ok());
    let most = if std::env::var_os(LEVEL).is_some_and(|level| level == "debug") {
        Level::DEBUG
    } else {
        Level::INFO
    };
    let sink = Sink { name: name.to_owned(), socket, most };
    // Set once, at the start of main.
    let _ = tracing::subscriber::set_global_default(sink);
}

struct Sink {
    name: String,
    socket: Option<UnixDatagram>,
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
        match &self.socket {
            Some(socket) => {
                let priority = FACILITY * 8 + severity(*event.metadata().level());
                let stamp = switchyard_sonic::syslog_time();
                let packet = format!("<{priority}>{stamp} {}[{}]: {line}", self.name, std::process::id());
                // A full or dead syslog must not stop a feature from starting.
                let _ = socket.send(packet.as_bytes());
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
