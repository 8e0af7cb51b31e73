//! The Redis side of `featured`: FEATURE rows and their changes in, STATE_DB `state` out.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use redis::{Client, Commands, Connection, Msg};

use super::row::Row;

const APPL_DB: u8 = 0;
const CONFIG_DB: u8 = 4;
const STATE_DB: u8 = 6;

const PORT_INIT_DONE: &str = "PORT_TABLE:PortInitDone";

/// What can wake `featured`.
#[derive(Debug)]
pub(super) enum Change {
    /// The row of this feature was written or removed.
    Feature(String),
    /// The switch's ports are up.
    PortsReady,
}

/// The host's databases, and the STATE_DB of each namespace.
pub(super) struct Databases {
    asics: usize,
    host_socket: &'static str,
}

impl Databases {
    pub(super) fn open(asics: usize) -> Result<Databases> {
        let databases = Databases { asics, host_socket: "/var/run/redis/redis.sock" };
        databases.connect(CONFIG_DB)?;
        Ok(databases)
    }

    /// Subscribes to everything that [`Change`] can say.
    pub(super) fn subscribe(&self) -> Result<Changes> {
        let mut connection = self.connect(CONFIG_DB)?;
        // By hand, because the crate's PubSub borrows the connection and unsubscribes when it is dropped.
        let mut subscribe = redis::cmd("PSUBSCRIBE");
        subscribe.arg(format!("__keyspace@{CONFIG_DB}__:FEATURE|*"));
        subscribe.arg(format!("__keyspace@{APPL_DB}__:{PORT_INIT_DONE}"));
        connection.send_packed_command(&subscribe.get_packed_command())?;
        Ok(Changes { connection })
    }

    pub(super) fn features(&self) -> Result<Vec<String>> {
        let keys: Vec<String> = self.connect(CONFIG_DB)?.keys("FEATURE|*")?;
        let mut names: Vec<String> =
            keys.iter().filter_map(|key| key.strip_prefix("FEATURE|")).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// The row of a feature, or nothing if it is gone by now.
    pub(super) fn feature(&self, name: &str) -> Result<Option<Row>> {
        let fields: HashMap<String, String> = self.connect(CONFIG_DB)?.hgetall(format!("FEATURE|{name}"))?;
        Ok((!fields.is_empty()).then(|| Row::parse(&fields)))
    }

    pub(super) fn write_back(&self, name: &str, row: &Row) -> Result<()> {
        Ok(self.connect(CONFIG_DB)?.hset(format!("FEATURE|{name}"), "state", row.state.as_str())?)
    }

    pub(super) fn record_state(&self, name: &str, outcome: &str) -> Result<()> {
        self.each_state_db(|db| Ok(db.hset(format!("FEATURE|{name}"), "state", outcome)?))
    }

    pub(super) fn forget(&self, name: &str) -> Result<()> {
        self.each_state_db(|db| Ok(db.del(format!("FEATURE|{name}"))?))
    }

    pub(super) fn ports_ready(&self) -> Result<bool> {
        Ok(self.connect(APPL_DB)?.exists(PORT_INIT_DONE)?)
    }

    /// After a warm or fast reboot the ports never went down, so nothing is delayed.
    pub(super) fn warm_or_fast_boot(&self) -> Result<bool> {
        let mut db = self.connect(STATE_DB)?;
        for table in ["WARM_RESTART_ENABLE_TABLE", "FAST_RESTART_ENABLE_TABLE"] {
            let enable: Option<String> = db.hget(format!("{table}|system"), "enable")?;
            if enable.as_deref() == Some("true") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn each_state_db(&self, act: impl Fn(&mut Connection) -> Result<()>) -> Result<()> {
        act(&mut self.connect(STATE_DB)?)?;
        if self.asics > 1 {
            for asic in 0..self.asics {
                act(&mut connect(&format!("/var/run/redis{asic}/redis.sock"), STATE_DB)?)?;
            }
        }
        Ok(())
    }

    fn connect(&self, db: u8) -> Result<Connection> {
        connect(self.host_socket, db)
    }
}

fn connect(socket: &str, db: u8) -> Result<Connection> {
    Client::open(format!("unix://{socket}?db={db}"))?
        .get_connection()
        .with_context(|| format!("no answer from Redis on {socket}"))
}

/// The subscription, on a connection of its own.
pub(super) struct Changes {
    connection: Connection,
}

impl Changes {
    /// The next change; `None` when `patience` ran out before one came.
    pub(super) fn next(&mut self, patience: Option<Duration>) -> Result<Option<Change>> {
        // Redis takes no zero timeout; a millisecond is "now" here.
        self.connection.set_read_timeout(patience.map(|time| time.max(Duration::from_millis(1))))?;
        loop {
            match self.connection.recv_response() {
                Ok(value) => {
                    if let Some(change) =
                        Msg::from_owned_value(value).and_then(|message| read_change(&message))
                    {
                        return Ok(Some(change));
                    }
                }
                Err(error) if error.is_timeout() => return Ok(None),
                Err(error) => return Err(error).context("lost the subscription to Redis"),
            }
        }
    }
}

fn read_change(message: &Msg) -> Option<Change> {
    let (_, key) = message.get_channel_name().split_once("__:")?;
    match key.strip_prefix("FEATURE|") {
        Some(name) => Some(Change::Feature(name.to_owned())),
        None => (key == PORT_INIT_DONE).then_some(Change::PortsReady),
    }
}
