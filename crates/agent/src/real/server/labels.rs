//! The node's labels: those of KUBE_LABELS, made valid, and nothing else of ours (SONIC.md 2.5, 5.6).
//!
//! Labels that others put there stay. Those that we have put there are listed in an annotation of the Node, so that one
//! that is wanted no more is taken off, be it years and a new SONiC image later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchyard_cluster::{Backoff, Client, ClusterError, LabelKey, LabelValue, Node, random};
use switchyard_core::{FeatureName, Knobs};
use switchyard_sonic::Paths;
use tokio::time::Instant;
use tracing::{info, warn};

use super::why::{Told, Why};
use crate::node_labels::{Wanted, wanted};
use crate::world::trouble;

/// Lists the labels that are ours.
const OURS: &str = "switchyard.sonic/labels";

/// What is wanted and what is there.
pub(super) struct Labels {
    backoff: Backoff,
    /// When what failed is tried again.
    retry: Option<Instant>,
    /// Rows or Node have changed since they were last compared.
    stale: bool,
    there: BTreeMap<String, String>,
    ours: BTreeSet<String>,
    told: Told,
    /// What was said of labels that are not on the node as they were given.
    troubles: BTreeMap<String, String>,
}

impl Default for Labels {
    fn default() -> Self {
        Self::of(&Knobs::default())
    }
}

impl Labels {
    pub(super) fn of(knobs: &Knobs) -> Self {
        Self {
            backoff: Backoff::new(knobs.retry_labels, Knobs::RETRY_MAX),
            retry: None,
            stale: true,
            there: BTreeMap::new(),
            ours: BTreeSet::new(),
            told: Told::default(),
            troubles: BTreeMap::new(),
        }
    }

    /// When to come again although nothing happens.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        self.retry.map(|at| at.saturating_duration_since(Instant::now()))
    }

    pub(super) fn rows_changed(&mut self) {
        self.stale = true;
    }

    pub(super) fn node_seen(&mut self, node: &Node) {
        self.stale = true;
        self.there.clone_from(&node.labels);
        let list = node.annotations.get(OURS).map(String::as_str).unwrap_or_default();
        self.ours = list.split(',').filter(|key| !key.is_empty()).map(ToOwned::to_owned).collect();
    }

    /// Makes the node's labels so. What fails is said once and tried again.
    pub(super) async fn apply(&mut self, paths: &Paths, client: &Client) {
        if !self.stale || self.retry.is_some_and(|at| at > Instant::now()) {
            return;
        }
        match self.write(paths, client).await {
            Ok(()) => {
                self.stale = false;
                self.retry = None;
                self.told.forget();
                self.backoff.reset();
            }
            Err(why) => {
                self.retry = Some(Instant::now() + self.backoff.next(random()));
                if self.told.is_news(&why) {
                    warn!(%why, "the node's labels could not be written; trying again");
                }
            }
        }
    }

    async fn write(&mut self, paths: &Paths, client: &Client) -> Result<(), Why> {
        let Some(Wanted { labels: wanted, troubles, features }) = wanted(paths).map_err(trouble)? else {
            return Ok(());
        };
        for (label, why) in troubles.iter().filter(|(label, why)| self.troubles.get(*label) != Some(*why)) {
            warn!(%label, "{why}");
        }
        self.troubles = troubles;
        // A row that is not there is nobody's word: Redis has lost it, and the loop will say it again. The pods of a
        // feature go with its label, so that stays until somebody says false, or the feature is deleted.
        let unsaid = self.ours.iter().filter(|key| is_of_one_of(key, &features)).cloned();
        let keys: BTreeSet<String> = wanted.keys().map(|key| key.as_str().to_owned()).chain(unsaid).collect();
        let mut labels: BTreeMap<LabelKey, Option<LabelValue>> =
            wanted.into_iter().map(|(key, value)| (key, Some(value))).collect();
        for key in self.ours.difference(&keys).filter_map(|key| LabelKey::parse(key).ok()) {
            labels.insert(key, None);
        }
        let same = |(key, value): (&LabelKey, &Option<LabelValue>)| {
            self.there.get(key.as_str()).map(String::as_str) == value.as_ref().map(LabelValue::as_str)
        };
        if keys == self.ours && labels.iter().all(same) {
            return Ok(());
        }
        // First the list: a label that is on it and not on the node does no harm, one that is forgotten would stay.
        let listed: BTreeSet<_> = keys.union(&self.ours).cloned().collect();
        self.list(client, &listed).await?;
        if client.set_labels(&labels).await? {
            let told = |(key, value): (&LabelKey, &Option<LabelValue>)| match value {
                Some(value) => format!("{key}={value}"),
                None => format!("{key}-"),
            };
            info!("node labels: {}", labels.iter().map(told).collect::<Vec<_>>().join(" "));
        }
        self.list(client, &keys).await?;
        self.there.extend(
            labels.iter().filter_map(|(key, value)| {
                Some((key.as_str().to_owned(), value.as_ref()?.as_str().to_owned()))
            }),
        );
        self.ours = keys;
        Ok(())
    }

    async fn list(&self, client: &Client, keys: &BTreeSet<String>) -> Result<(), ClusterError> {
        if *keys == self.ours {
            return Ok(());
        }
        let Ok(annotation) = LabelKey::parse(OURS) else { return Ok(()) };
        let list = keys.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        client.set_annotations(&BTreeMap::from([(annotation, Some(list))])).await.map(drop)
    }
}

/// Takes everything of ours off a Node that stays although its switch leaves: with it goes what draws features' pods.
pub(super) async fn take_off(client: &Client) -> Result<(), ClusterError> {
    let Some(node) = client.node().await? else { return Ok(()) };
    let mut labels = Labels::default();
    labels.node_seen(&node);
    let ours = labels.ours.iter().filter_map(|key| Some((LabelKey::parse(key).ok()?, None)));
    client.set_labels(&ours.collect()).await?;
    labels.list(client, &BTreeSet::new()).await
}

/// Whether a label is the one that draws the pods of one of these features.
fn is_of_one_of(key: &str, features: &[FeatureName]) -> bool {
    let feature = key.strip_suffix("_enabled");
    feature.is_some_and(|feature| features.iter().any(|name| name.as_str() == feature))
}
