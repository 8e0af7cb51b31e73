//! Hears of every change on a switch that a decision about any feature may rest on, and says what it was about.
//!
//! For the daemon; one command listens to its own instance with [`crate::Changes`]. What was announced is a hint: the
//! rows are read anew.

use std::collections::BTreeSet;

use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use switchyard_core::{AsicId, FeatureName};

use crate::{
    DbAddress, SonicError,
    changes::{announce, listen_to},
};

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// The configuration of a feature.
    Config(FeatureName),
    /// What is recorded of a feature, on the host or for one ASIC.
    State(FeatureName, Option<AsicId>),
    /// Whether the configuration is loaded.
    Initialized,
    /// The wanted node labels.
    Labels,
    /// The configuration of the Kubernetes server.
    Server,
    /// A warm or fast reboot, or its end.
    Reboot,
}

/// Announced changes, from the moment it was made.
pub struct Watch {
    events: SelectAll<BoxStream<'static, Result<Option<Changed>, SonicError>>>,
}

/// A database to listen to: which rows of it matter is the same for each of its kind.
pub(crate) struct Source {
    pub(crate) address: DbAddress,
    pub(crate) asic: Option<AsicId>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Config,
    State,
}

impl Source {
    fn keys(&self) -> Vec<String> {
        let key = |table: &str, row: &str| self.address.key(table, row);
        match (self.kind, self.asic) {
            (Kind::Config, None) => {
                vec![key("FEATURE", "*"), key("KUBERNETES_MASTER", "SERVER"), "CONFIG_DB_INITIALIZED".into()]
            }
            (Kind::Config, Some(_)) => Vec::new(),
            (Kind::State, None) => vec![
                key("FEATURE", "*"),
                key("KUBE_LABELS", "SET"),
                key("WARM_RESTART_ENABLE_TABLE", "system"),
                key("FAST_RESTART_ENABLE_TABLE", "system"),
            ],
            (Kind::State, Some(_)) => vec![key("FEATURE", "*")],
        }
    }

    fn prefix(&self) -> String {
        format!("__keyspace@{}__:", self.address.id)
    }
}

/// What a change of this key means; nothing if its name is none of a feature.
fn meaning(kind: Kind, asic: Option<AsicId>, separator: &str, key: &str) -> Option<Changed> {
    if key == "CONFIG_DB_INITIALIZED" {
        return Some(Changed::Initialized);
    }
    let (table, row) = key.split_once(separator)?;
    match table {
        "FEATURE" => {
            let name = FeatureName::parse(row).ok()?;
            Some(match kind {
                Kind::Config => Changed::Config(name),
                Kind::State => Changed::State(name, asic),
            })
        }
        "KUBE_LABELS" => Some(Changed::Labels),
        "KUBERNETES_MASTER" => Some(Changed::Server),
        _ => Some(Changed::Reboot),
    }
}

impl Watch {
    pub(crate) async fn subscribe(sources: Vec<Source>) -> Result<Self, SonicError> {
        let mut events = SelectAll::new();
        for source in sources {
            let prefix = source.prefix();
            let patterns: Vec<_> = source.keys().iter().map(|key| format!("{prefix}{key}")).collect();
            if patterns.is_empty() {
                continue;
            }
            announce(source.address.clone()).await?;
            let ended = SonicError::ConnectionEnded { address: source.address.to_string() };
            let messages = listen_to(&source.address, &patterns, true).await?;
            let (kind, asic, separator) = (source.kind, source.asic, source.address.separator.clone());
            let told = messages.map(move |message| {
                let key = message.get_channel_name().strip_prefix(&prefix).unwrap_or_default();
                Ok(meaning(kind, asic, &separator, key))
            });
            events.push(told.chain(stream::once(async { Err(ended) })).boxed());
        }
        Ok(Self { events })
    }

    /// Waits for the next changes; those that were announced together come together. After an error, subscribe anew
    /// and look at everything.
    pub async fn next(&mut self) -> Result<BTreeSet<Changed>, SonicError> {
        let nobody = || SonicError::ConnectionEnded { address: "any server".into() };
        let mut changed = BTreeSet::new();
        while changed.is_empty() {
            changed.extend(self.events.next().await.unwrap_or_else(|| Err(nobody()))?);
            while let Some(event) = self.events.next().now_or_never() {
                changed.extend(event.unwrap_or_else(|| Err(nobody()))?);
            }
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_is_about() {
        let name = FeatureName::parse("snmp").unwrap();
        for (kind, asic, key, expected) in [
            (Kind::Config, None, "FEATURE|snmp", Some(Changed::Config(name.clone()))),
            (Kind::State, Some(AsicId(1)), "FEATURE|snmp", Some(Changed::State(name, Some(AsicId(1))))),
            (Kind::State, None, "FEATURE|../x", None),
            (Kind::Config, None, "CONFIG_DB_INITIALIZED", Some(Changed::Initialized)),
            (Kind::Config, None, "KUBERNETES_MASTER|SERVER", Some(Changed::Server)),
            (Kind::State, None, "KUBE_LABELS|SET", Some(Changed::Labels)),
            (Kind::State, None, "FAST_RESTART_ENABLE_TABLE|system", Some(Changed::Reboot)),
            (Kind::State, None, "nothing", None),
        ] {
            assert_eq!(meaning(kind, asic, "|", key), expected, "{key}");
        }
    }
}
