//! Everything that can go wrong at the switch's interfaces, each naming the thing and the way out.
//!
//! Callers tell the cases apart by matching; which exit code or retry a case deserves is theirs to say.

use std::{fmt, io, path::PathBuf, time::Duration};

use switchyard_core::AsicId;

/// Why an interface of the switch could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SonicError {
    /// A file that the switch must have is absent.
    #[error("{} is not there: {hint}", file.display())]
    FileMissing {
        /// Which file.
        file: PathBuf,
        /// What makes it appear.
        hint: &'static str,
    },
    /// A file could not be read for another reason, such as missing rights.
    #[error("{} cannot be read: {source}", file.display())]
    FileUnreadable {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file could not be written: no space, no right, or a disk that is read-only.
    #[error("{} cannot be written: {source}", file.display())]
    FileUnwritable {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is there, but says nothing that can be used.
    #[error("{} is broken: {why}; {hint}", file.display())]
    FileBroken {
        /// Which file.
        file: PathBuf,
        /// What is wrong in it.
        why: String,
        /// How to get a sound one.
        hint: &'static str,
    },
    /// The database configuration does not know a database.
    #[error("{} names no database {database}: restart the database container to write the file anew", file.display())]
    UnknownDatabase {
        /// The database configuration.
        file: PathBuf,
        /// The database asked for.
        database: String,
    },
    /// An ASIC that the switch does not have.
    #[error("this switch has no namespace asic{asic}: {} does not list it", file.display())]
    NoSuchNamespace {
        /// The ASIC asked for.
        asic: AsicId,
        /// The list of namespaces.
        file: PathBuf,
    },
    /// No Redis server answers.
    #[error("Redis does not answer at {address} ({source}): check the database container with: docker ps")]
    RedisUnreachable {
        /// Every place that was tried.
        address: String,
        /// What the first of them said.
        source: redis::RedisError,
    },
    /// The caller may not open the server's socket.
    #[error("no right to open {}: run as root or as a member of group redis", socket.display())]
    RedisDenied {
        /// The socket.
        socket: PathBuf,
    },
    /// Redis answered, but not with what was asked for.
    #[error("Redis at {address} refused {doing}: {source}")]
    RedisRefused {
        /// Which server.
        address: String,
        /// What was asked of it.
        doing: String,
        /// What it said.
        source: redis::RedisError,
    },
    /// A connection on which changes were to be announced has ended; subscribe anew and read the rows again.
    #[error("the connection to Redis at {address} has ended: is its container restarting?")]
    ConnectionEnded {
        /// Which server.
        address: String,
    },
    /// A row holds something that no reader understands.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The system bus cannot be reached.
    #[error("systemd cannot be reached over D-Bus ({source}): check with: systemctl status dbus.socket")]
    BusUnreachable {
        /// What the attempt said.
        source: zbus::Error,
    },
    /// systemd knows no such unit.
    #[error("there is no unit {unit}: look for its name with: systemctl list-unit-files")]
    NoSuchUnit {
        /// The unit asked for.
        unit: String,
    },
    /// The unit is masked, so it cannot be started.
    #[error("unit {unit} is masked: unmask it first with: systemctl unmask {unit}")]
    UnitMasked {
        /// The unit asked for.
        unit: String,
    },
    /// systemd does this for root only.
    #[error("no right to {doing}: run it with sudo")]
    BusDenied {
        /// What was asked.
        doing: String,
    },
    /// systemd answered with another error.
    #[error("systemd refused to {doing}: {text}")]
    BusRefused {
        /// What was asked.
        doing: String,
        /// systemd's own words.
        text: String,
    },
    /// Something did not happen in time.
    #[error("{what} took longer than {after:?}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
    },
}

/// A field of a row holds a word that its readers do not know.
///
/// One line that names the row, what is wrong with it and the command that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// `CONFIG_DB` or `STATE_DB`.
    pub database: &'static str,
    /// The namespace of the database; none for the host's.
    pub asic: Option<AsicId>,
    /// The row, with its table: `FEATURE|snmp`.
    pub row: String,
    /// The field.
    pub field: &'static str,
    /// What it holds.
    pub word: String,
    /// What it may hold.
    pub allowed: String,
}

impl RowError {
    /// So much of a bad value is shown; the rest would bury the message.
    const SHOWN: usize = 40;

    /// The command that mends the row: it takes the bad value away, so that the field's default counts. Only
    /// whether a feature may run is no question to leave to a default.
    pub fn mend(&self) -> String {
        if let ("CONFIG_DB", "state", Some(feature)) =
            (self.database, self.field, self.row.strip_prefix("FEATURE|"))
        {
            return format!("config feature state {feature} enabled|disabled");
        }
        let namespace = self.asic.map(|asic| format!("-n asic{asic} ")).unwrap_or_default();
        format!("sonic-db-cli {namespace}{} HDEL '{}' {}", self.database, self.row, self.field)
    }
}

impl std::error::Error for RowError {}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut word: String = self.word.chars().take(Self::SHOWN).collect();
        if word.len() < self.word.len() {
            word.push('…');
        }
        write!(
            f,
            "{} {}: {} is {word:?}, allowed is {}; mend it with: {}",
            self.database,
            self.row,
            self.field,
            self.allowed,
            self.mend()
        )
    }
}
