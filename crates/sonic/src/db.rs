//! One synchronous connection to one database: rows in, rows out.
//!
//! A connection that broke since its last use, as when Redis was restarted, is made anew once. Every command sent
//! from here can therefore reach the server twice, and none minds.

use std::{collections::BTreeMap, error::Error, io, sync::Arc, time::Duration};

use redis::{
    Client, Cmd, Connection, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisError,
};

use crate::{DbAddress, SonicError};

/// The fields of a row.
pub type Fields = BTreeMap<String, String>;

/// A local server answers within microseconds; one that takes this long is stuck, and a control script must not be.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// A row that has no fields is stored with this one (SONIC.md 1.6).
const PLACEHOLDER: &str = "NULL";

/// An open database.
pub struct Db {
    address: DbAddress,
    connection: Connection,
}

impl Db {
    /// Connects: by the Unix socket if there is one, else or if nobody answers there by TCP.
    pub fn open(address: &DbAddress) -> Result<Self, SonicError> {
        Ok(Self { address: address.clone(), connection: connect(address)? })
    }

    /// A row with all its fields; none if it is absent.
    pub fn row(&mut self, table: &str, key: &str) -> Result<Option<Fields>, SonicError> {
        let fields = self.stored(table, key)?;
        Ok((!fields.is_empty())
            .then(|| fields.into_iter().filter(|(field, _)| field != PLACEHOLDER).collect()))
    }

    /// The fields of a row in the order in which the server has them; nothing if it is absent.
    pub fn row_in_order(&mut self, table: &str, key: &str) -> Result<Vec<(String, String)>, SonicError> {
        let mut fields = self.stored(table, key)?;
        fields.retain(|(field, _)| field != PLACEHOLDER);
        Ok(fields)
    }

    fn stored(&mut self, table: &str, key: &str) -> Result<Vec<(String, String)>, SonicError> {
        let key = self.address.key(table, key);
        let fields: Vec<(Vec<u8>, Vec<u8>)> = self.ask(redis::cmd("HGETALL").arg(&key), &key)?;
        // Text that is not UTF-8 is garbage, but it must be readable to be named in an error.
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(fields.into_iter().map(|(f, v)| (text(f), text(v))).collect())
    }

    /// One field of a row.
    pub fn field(&mut self, table: &str, key: &str, field: &str) -> Result<Option<String>, SonicError> {
        let key = self.address.key(table, key);
        self.text(redis::cmd("HGET").arg(&key).arg(field), &key)
    }

    /// Whether a row is there.
    pub fn exists(&mut self, table: &str, key: &str) -> Result<bool, SonicError> {
        let key = self.address.key(table, key);
        self.ask(redis::cmd("EXISTS").arg(&key), &key)
    }

    /// Sets some fields of a row; the others stay.
    pub fn set(&mut self, table: &str, key: &str, fields: &[(&str, &str)]) -> Result<(), SonicError> {
        if fields.is_empty() {
            return Ok(());
        }
        let key = self.address.key(table, key);
        self.ask(redis::cmd("HSET").arg(&key).arg(fields), &key)
    }

    /// Takes some fields out of a row. A row without fields is no more.
    pub fn delete_fields(&mut self, table: &str, key: &str, fields: &[&str]) -> Result<(), SonicError> {
        if fields.is_empty() {
            return Ok(());
        }
        let key = self.address.key(table, key);
        self.ask(redis::cmd("HDEL").arg(&key).arg(fields), &key)
    }

    /// Deletes a row.
    pub fn delete_row(&mut self, table: &str, key: &str) -> Result<(), SonicError> {
        let key = self.address.key(table, key);
        self.ask(redis::cmd("DEL").arg(&key), &key)
    }

    /// The keys of a table's rows, sorted. Scans, so that other clients are served meanwhile.
    pub fn keys(&mut self, table: &str) -> Result<Vec<String>, SonicError> {
        const BATCH: u32 = 1000;
        let prefix = self.address.key(table, "");
        let pattern = format!("{}*", escape_glob(&prefix));
        let mut keys = std::collections::BTreeSet::new();
        let mut cursor = 0_u64;
        loop {
            let scan =
                redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(BATCH).clone();
            let (next, found): (u64, Vec<Vec<u8>>) = self.ask(&scan, &pattern)?;
            keys.extend(
                found.iter().filter_map(|key| {
                    String::from_utf8_lossy(key).strip_prefix(&prefix).map(ToOwned::to_owned)
                }),
            );
            if next == 0 {
                return Ok(keys.into_iter().collect());
            }
            cursor = next;
        }
    }

    /// The value of a plain key.
    pub fn string(&mut self, key: &str) -> Result<Option<String>, SonicError> {
        self.text(redis::cmd("GET").arg(key), key)
    }

    /// The key of a row of this database.
    pub(crate) fn key(&self, table: &str, key: &str) -> String {
        self.address.key(table, key)
    }

    /// Runs a Lua script on one row: the server does nothing else meanwhile.
    pub(crate) fn eval(&mut self, script: &str, key: &str, argument: &str) -> Result<bool, SonicError> {
        self.ask(redis::cmd("EVAL").arg(script).arg(1).arg(key).arg(argument), key)
    }

    /// Makes the server announce every change of a key, as swsscommon's clients do (SONIC.md 1.5).
    pub(crate) fn announce_changes(&mut self) -> Result<(), SonicError> {
        const SETTING: &str = "notify-keyspace-events";
        let (_, now): (String, String) = self.ask(redis::cmd("CONFIG").arg("GET").arg(SETTING), SETTING)?;
        if now.contains('K') && now.contains('A') {
            return Ok(());
        }
        // What others have switched on besides stays on.
        let others: String = now.chars().filter(|flag| !"KEA".contains(*flag)).collect();
        self.ask(redis::cmd("CONFIG").arg("SET").arg(SETTING).arg(format!("KEA{others}")), SETTING)
    }

    fn text(&mut self, command: &Cmd, about: &str) -> Result<Option<String>, SonicError> {
        let value: Option<Vec<u8>> = self.ask(command, about)?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    fn ask<T: FromRedisValue>(&mut self, command: &Cmd, about: &str) -> Result<T, SonicError> {
        let mut answer = command.query(&mut self.connection);
        if answer.as_ref().is_err_and(RedisError::is_connection_dropped) {
            self.connection = connect(&self.address)?;
            answer = command.query(&mut self.connection);
        }
        answer.map_err(|error| self.failed(command, about, error))
    }

    fn failed(&self, command: &Cmd, about: &str, source: RedisError) -> SonicError {
        let address = self.address.to_string();
        let doing = format!("{} of {about}", name(command));
        if source.is_timeout() {
            SonicError::TimedOut { what: format!("{doing} by Redis at {address}"), after: ANSWER_TIME_MAX }
        } else if source.is_io_error() {
            SonicError::RedisUnreachable { address, source }
        } else {
            SonicError::RedisRefused { address, doing, source }
        }
    }
}

/// A client for each place where the server may be, in the order in which to try them.
pub(crate) fn clients(address: &DbAddress) -> Result<Vec<Client>, SonicError> {
    let settings = RedisConnectionInfo::default().set_db(address.id.into()).set_skip_set_lib_name();
    let socket = address.socket.clone().map(ConnectionAddr::Unix);
    let tcp = address.port.map(|port| ConnectionAddr::Tcp(address.host.clone(), port));
    socket
        .into_iter()
        .chain(tcp)
        .map(|place| {
            let info: ConnectionInfo = place.into_connection_info()?.set_redis_settings(settings.clone());
            Client::open(info)
        })
        .collect::<Result<_, _>>()
        .map_err(|source| SonicError::RedisUnreachable { address: address.to_string(), source })
}

/// What the failure of every place means; the first is the socket's and tells most.
pub(crate) fn unreachable(address: &DbAddress, source: RedisError) -> SonicError {
    match &address.socket {
        Some(socket) if is_denied(&source) => SonicError::RedisDenied { socket: socket.clone() },
        _ => SonicError::RedisUnreachable { address: address.to_string(), source },
    }
}

fn connect(address: &DbAddress) -> Result<Connection, SonicError> {
    let mut first_failure = None;
    for client in clients(address)? {
        match client.get_connection_with_timeout(ANSWER_TIME_MAX).and_then(with_timeouts) {
            Ok(connection) => return Ok(connection),
            // Who may not use the socket must not get in by another door.
            Err(error) if is_denied(&error) => return Err(unreachable(address, error)),
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    let nowhere = || RedisError::from((redis::ErrorKind::InvalidClientConfig, "it has no address"));
    Err(unreachable(address, first_failure.unwrap_or_else(nowhere)))
}

fn with_timeouts(connection: Connection) -> Result<Connection, RedisError> {
    connection.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    connection.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    Ok(connection)
}

/// The library shares its I/O errors, so the cause lies below an [`Arc`].
pub(crate) fn is_denied(error: &RedisError) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>())
        .and_then(|shared| shared.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// The word that the command begins with.
fn name(command: &Cmd) -> String {
    match command.args_iter().next() {
        Some(redis::Arg::Simple(word)) => String::from_utf8_lossy(word).into_owned(),
        _ => String::new(),
    }
}

fn escape_glob(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}
