//! Hears of changes to rows by Redis' keyspace events (SONIC.md 1.5).
//!
//! An event says only that something may have changed: several may come for one change or one for several, so they
//! are taken together and the listener reads the rows anew. Flushed data is announced by nobody; a listener looks
//! again by itself now and then.

use std::time::Duration;

use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream, SelectAll},
};

use crate::{
    Db, DbAddress, SonicError,
    db::{clients, is_denied, unreachable},
};

/// So long may subscribing to one server take.
const SUBSCRIBE_TIME_MAX: Duration = Duration::from_secs(5);

/// Announced changes, from the moment it was made.
pub struct Changes {
    events: SelectAll<BoxStream<'static, Result<(), SonicError>>>,
}

/// One key to listen to, and the server that has it.
pub(crate) struct Channel {
    server: DbAddress,
    name: String,
}

impl Channel {
    pub(crate) fn of(database: &DbAddress, key: &str) -> Self {
        Self { server: database.clone(), name: format!("__keyspace@{}__:{key}", database.id) }
    }

    fn same_server(&self, other: &DbAddress) -> bool {
        let one = &self.server;
        (&one.socket, &one.host, one.port) == (&other.socket, &other.host, other.port)
    }
}

impl Changes {
    /// Subscribes; every server has confirmed when this returns. The keys may be patterns.
    pub(crate) async fn subscribe(mut channels: Vec<Channel>) -> Result<Self, SonicError> {
        let mut events = SelectAll::new();
        while let Some(server) = channels.first().map(|channel| channel.server.clone()) {
            let here: Vec<_> = channels.extract_if(.., |channel| channel.same_server(&server)).collect();
            let names: Vec<_> = here.into_iter().map(|channel| channel.name).collect();
            announce(server.clone()).await?;
            let ended = SonicError::ConnectionEnded { address: server.to_string() };
            let patterns = names.iter().any(|name| name.ends_with('*'));
            let messages = listen_to(&server, &names, patterns).await?;
            // Without a last word, the end of one server's events would go unheard among the others'.
            events.push(messages.map(|_| Ok(())).chain(stream::once(async { Err(ended) })).boxed());
        }
        Ok(Self { events })
    }

    /// Waits for the next change. After an error, subscribe anew.
    pub async fn next(&mut self) -> Result<(), SonicError> {
        let nobody = || SonicError::ConnectionEnded { address: "any server".into() };
        self.events.next().await.unwrap_or_else(|| Err(nobody()))?;
        while let Some(event) = self.events.next().now_or_never() {
            event.unwrap_or_else(|| Err(nobody()))?;
        }
        Ok(())
    }
}

pub(crate) async fn announce(server: DbAddress) -> Result<(), SonicError> {
    let address = server.to_string();
    tokio::task::spawn_blocking(move || Db::open(&server)?.announce_changes())
        .await
        .unwrap_or(Err(SonicError::ConnectionEnded { address }))
}

/// Subscribes to channels by their names, or by patterns of names.
pub(crate) async fn listen_to(
    server: &DbAddress,
    names: &[String],
    patterns: bool,
) -> Result<redis::aio::PubSubStream, SonicError> {
    let mut first_failure = None;
    for client in clients(server)? {
        let subscribed = async {
            let mut listener = client.get_async_pubsub().await?;
            if patterns {
                listener.psubscribe(names).await?;
            } else {
                listener.subscribe(names).await?;
            }
            Ok::<_, redis::RedisError>(listener.into_on_message())
        };
        match tokio::time::timeout(SUBSCRIBE_TIME_MAX, subscribed).await {
            Ok(Ok(messages)) => return Ok(messages),
            Ok(Err(error)) if is_denied(&error) => return Err(unreachable(server, error)),
            Ok(Err(error)) => first_failure = first_failure.or(Some(unreachable(server, error))),
            Err(_) => {
                let what = format!("subscribing to Redis at {server}");
                first_failure =
                    first_failure.or(Some(SonicError::TimedOut { what, after: SUBSCRIBE_TIME_MAX }));
            }
        }
    }
    Err(first_failure.unwrap_or_else(|| SonicError::ConnectionEnded { address: server.to_string() }))
}
