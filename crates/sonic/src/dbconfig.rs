//! Where a switch's databases are: `database_config.json` (SONIC.md 1.1).
//!
//! Strict where a guess could reach the wrong server; ids and separators fall back to SONiC's own table. An entry
//! that is broken spoils only its own database. Which file belongs to which namespace is `global`'s business.

use std::{collections::BTreeMap, fmt, path::Path};

use serde_json::Value;

use crate::SonicError;

/// How to reach one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbAddress {
    /// The server's Unix socket, tried first.
    pub socket: Option<std::path::PathBuf>,
    /// The server's host, for TCP.
    pub host: String,
    /// The server's TCP port; none if it has only the socket.
    pub port: Option<u16>,
    /// The number of the database on that server.
    pub id: u32,
    /// What stands between table and key.
    pub separator: String,
}

impl DbAddress {
    /// The key of a row.
    pub fn key(&self, table: &str, key: &str) -> String {
        format!("{table}{}{key}", self.separator)
    }
}

impl fmt::Display for DbAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.socket, self.port) {
            (Some(socket), Some(port)) => write!(f, "{} or {}:{port}", socket.display(), self.host),
            (Some(socket), None) => write!(f, "{}", socket.display()),
            (None, port) => write!(f, "{}:{}", self.host, port.unwrap_or_default()),
        }
    }
}

/// The databases of the host or of one namespace.
#[derive(Debug, Clone)]
pub struct DbConfig {
    file: std::path::PathBuf,
    databases: BTreeMap<String, Result<DbAddress, String>>,
}

/// SONiC's ids and separators (SONIC.md 1.1), for a file that leaves them out.
const SHIPPED: &[(&str, u32, &str)] = &[
    ("APPL_DB", 0, ":"),
    ("ASIC_DB", 1, ":"),
    ("COUNTERS_DB", 2, ":"),
    ("LOGLEVEL_DB", 3, ":"),
    ("CONFIG_DB", 4, "|"),
    ("PFC_WD_DB", 5, ":"),
    ("FLEX_COUNTER_DB", 5, ":"),
    ("STATE_DB", 6, "|"),
    ("SNMP_OVERLAY_DB", 7, "|"),
    ("RESTAPI_DB", 8, "|"),
];

const HINT: &str = "it is written when the database container starts: systemctl restart database";

impl DbConfig {
    /// Reads and checks the file.
    pub fn load(file: &Path) -> Result<Self, SonicError> {
        let json = read_json(file, HINT)?;
        let broken = |why: &str| SonicError::FileBroken { file: file.into(), why: why.into(), hint: HINT };
        let instances = json
            .get("INSTANCES")
            .and_then(Value::as_object)
            .filter(|instances| !instances.is_empty())
            .ok_or_else(|| broken("INSTANCES is missing or empty"))?;
        let listed = match json.get("DATABASES") {
            Some(listed) => listed.as_object().ok_or_else(|| broken("DATABASES is no object"))?,
            None => &serde_json::Map::new(),
        };
        let nothing = Value::Null;
        let shipped = SHIPPED.iter().map(|(name, ..)| (*name, &nothing));
        // What the file lists comes last and so counts.
        let databases = shipped
            .chain(listed.iter().map(|(name, entry)| (name.as_str(), entry)))
            .map(|(name, entry)| {
                (name.to_owned(), address(name, entry, instances).map(|at| as_mounted(at, file)))
            })
            .collect();
        Ok(Self { file: file.into(), databases })
    }

    /// Where a database is, by name: `CONFIG_DB`.
    pub fn address(&self, database: &str) -> Result<&DbAddress, SonicError> {
        match self.databases.get(database) {
            Some(Ok(address)) => Ok(address),
            Some(Err(why)) => {
                Err(SonicError::FileBroken { file: self.file.clone(), why: why.clone(), hint: HINT })
            }
            None => Err(SonicError::UnknownDatabase { file: self.file.clone(), database: database.into() }),
        }
    }
}

/// Reads a JSON file; errors name it and say how to get a sound one.
pub(crate) fn read_json(file: &Path, hint: &'static str) -> Result<Value, SonicError> {
    let text = std::fs::read(file).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => SonicError::FileMissing { file: file.into(), hint },
        _ => SonicError::FileUnreadable { file: file.into(), source },
    })?;
    let broken = |why: String| SonicError::FileBroken { file: file.into(), why, hint };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(broken("it is empty".into()));
    }
    serde_json::from_slice(&text).map_err(|error| broken(format!("not JSON ({error})")))
}

fn address(
    name: &str,
    entry: &Value,
    instances: &serde_json::Map<String, Value>,
) -> Result<DbAddress, String> {
    let shipped = SHIPPED.iter().find(|(known, ..)| *known == name);
    let id = match entry.get("id") {
        Some(id) => number(id).ok_or_else(|| format!("database {name} has id {id}, not a number"))?,
        None => shipped.map(|(_, id, _)| *id).ok_or_else(|| format!("database {name} has no id"))?,
    };
    let separator = match entry.get("separator").and_then(Value::as_str) {
        Some(separator) if !separator.is_empty() => separator,
        _ => shipped.map_or("|", |(.., separator)| *separator),
    };
    let server = entry.get("instance").and_then(Value::as_str).unwrap_or("redis");
    let instance = instances
        .get(server)
        .ok_or_else(|| format!("database {name} is on instance {server:?}, which is missing"))?;
    let socket = instance.get("unix_socket_path").and_then(Value::as_str).filter(|path| !path.is_empty());
    let port = match instance.get("port") {
        Some(port) => Some(
            number(port).ok_or_else(|| format!("instance {server:?} has port {port}, not a port number"))?,
        ),
        None => None,
    };
    if socket.is_none() && port.is_none() {
        return Err(format!("instance {server:?} has neither unix_socket_path nor port"));
    }
    let host = instance.get("hostname").and_then(Value::as_str).filter(|host| !host.is_empty());
    Ok(DbAddress {
        socket: socket.map(Into::into),
        host: host.unwrap_or("127.0.0.1").to_owned(),
        port,
        id,
        separator: separator.to_owned(),
    })
}

/// In the container of an ASIC the namespace's directory `/var/run/redisN` is mounted as `/var/run/redis`, while the
/// file in it still names sockets by their place on the host (SONIC.md 1.2, 6.2).
fn as_mounted(mut address: DbAddress, file: &Path) -> DbAddress {
    let mounted = || {
        let socket = address.socket.as_ref()?;
        let directory = file.parent()?.parent()?;
        let here = directory.join(socket.file_name()?);
        (socket.parent() != Some(directory) && !socket.exists() && here.exists()).then_some(here)
    };
    if let Some(here) = mounted() {
        address.socket = Some(here);
    }
    address
}

/// A number, or a text that is one: both are found in the field.
fn number<T: TryFrom<u64> + std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| T::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
