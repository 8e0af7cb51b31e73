//! Where events come from. Each source lives as long as the agent: when its other end goes away it is told of once, tried
//! again, and when it is back everything is looked at, since what happened meanwhile was not heard.

use std::time::Duration;

use futures_util::StreamExt;
use switchyard_core::Instance;
use switchyard_engine::{Engine, EngineError};
use switchyard_sonic::{Changed, Paths, SonicError, Switch, Units};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{Message, Queue};
use crate::world::Event;

/// How long a source that went away is left alone before it is tried again. Its restart takes seconds.
const RETRY: Duration = Duration::from_secs(2);

/// Tells once of a source that is away, and once that it is back.
struct Presence {
    what: &'static str,
    away: bool,
}

impl Presence {
    fn of(what: &'static str) -> Self {
        Self { what, away: false }
    }

    fn lost(&mut self, why: &str) {
        if !std::mem::replace(&mut self.away, true) {
            warn!(%why, "{} went away; trying again", self.what);
        }
    }

    fn found(&mut self) {
        if std::mem::replace(&mut self.away, false) {
            info!("{} is back", self.what);
        }
    }
}

/// Changes of rows. What concerns the cluster goes to who looks after it.
pub(super) async fn rows(paths: Paths, queue: Queue, server: watch::Sender<u64>) {
    let mut presence = Presence::of("Redis");
    loop {
        if let Err(error) = follow_rows(&paths, &queue, &server, &mut presence).await {
            presence.lost(&error.to_string());
        }
        sleep(RETRY).await;
    }
}

async fn follow_rows(
    paths: &Paths,
    queue: &Queue,
    server: &watch::Sender<u64>,
    presence: &mut Presence,
) -> Result<(), SonicError> {
    let mut watch = Switch::open(paths.clone())?.watch().await?;
    presence.found();
    let _ = queue.send(Event::Everything.into()).await;
    server.send_modify(|times| *times += 1);
    loop {
        for changed in watch.next().await? {
            let event = match changed {
                Changed::Config(feature) => Event::Feature(feature),
                Changed::State(feature, asic) => Event::Instance(Instance { feature, asic }),
                Changed::Initialized | Changed::Reboot => {
                    server.send_modify(|times| *times += 1);
                    Event::Everything
                }
                Changed::Labels | Changed::Server => {
                    server.send_modify(|times| *times += 1);
                    continue;
                }
            };
            let _ = queue.send(event.into()).await;
        }
    }
}

/// States of units.
pub(super) async fn units(mut names: watch::Receiver<Vec<String>>, queue: Queue) {
    let mut presence = Presence::of("systemd");
    loop {
        let wanted = names.borrow_and_update().clone();
        let listening = async { Units::connect().await?.changes(&wanted).await };
        match listening.await {
            Ok(mut changes) => {
                presence.found();
                let _ = queue.send(Event::Everything.into()).await;
                loop {
                    tokio::select! {
                        unit = changes.next() => match unit {
                            Some(unit) => { let _ = queue.send(Message::Unit(unit)).await; }
                            None => break,
                        },
                        others = names.changed() => match others {
                            Ok(()) => break,
                            Err(_) => return,
                        },
                    }
                }
            }
            Err(error) => {
                presence.lost(&error.to_string());
                sleep(RETRY).await;
            }
        }
    }
}

/// Containers that begin and end to run.
pub(super) async fn containers(engine: Engine, queue: Queue) {
    let mut presence = Presence::of("Docker");
    loop {
        if let Err(error) = follow_containers(&engine, &queue, &mut presence).await {
            presence.lost(&error.to_string());
        }
        sleep(RETRY).await;
    }
}

async fn follow_containers(
    engine: &Engine,
    queue: &Queue,
    presence: &mut Presence,
) -> Result<(), EngineError> {
    let mut events = std::pin::pin!(engine.events());
    engine.ping().await?;
    presence.found();
    let _ = queue.send(Event::Everything.into()).await;
    while let Some(name) = events.next().await.transpose()? {
        let _ = queue.send(Message::Container(name)).await;
    }
    Ok(())
}
