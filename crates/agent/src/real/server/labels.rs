//! The node's labels: those of KUBE_LABELS, made valid, and nothing else of ours (SONIC.md 2.5, 5.6).
//!
//! Labels that others put there stay. Those that we have put there are listed in an annotation of the Node, so that one
//! that is wanted no more is taken off, be it years and a new SONiC image later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchyard_cluster::{
    Backoff, Client, ClusterError, LabelKey, LabelValue, Node, SwitchFacts, identity_labels, label_value,
    random,
};
use switchyard_core::{FeatureName, Knobs};
use switchyard_sonic::{Paths, SonicError, Switch, sonic_version};
use tokio::time::Instant;
use tracing::{info, warn};

use super::why::{Told, Why};
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
    /// Rows' labels that were said to be none.
    refused: BTreeSet<String>,
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
            refused: BTreeSet::new(),
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
        let Some(Wanted { labels: wanted, refused, features }) = wanted(paths).map_err(trouble)? else {
            return Ok(());
        };
        for label in refused.difference(&self.refused) {
            warn!(%label, "no node label: Kubernetes would refuse it");
        }
        self.refused = refused;
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

/// What the rows ask for.
struct Wanted {
    labels: BTreeMap<LabelKey, LabelValue>,
    /// Those that can be no labels.
    refused: BTreeSet<String>,
    /// All features that there are.
    features: Vec<FeatureName>,
}

/// All labels of the rows, after what the switch says of itself has been put there too. Nothing while the configuration
/// is not loaded: what is missing then is not meant so.
fn wanted(paths: &Paths) -> Result<Option<Wanted>, SonicError> {
    let mut switch = Switch::open(paths.clone())?;
    if !switch.config_initialized()? {
        return Ok(None);
    }
    say_who_we_are(paths, &mut switch)?;
    let features = switch.feature_names()?;
    let mut wanted = Wanted { labels: BTreeMap::new(), refused: BTreeSet::new(), features };
    for (key, value) in switch.labels()? {
        match LabelKey::parse(&key) {
            Ok(key) if !key.is_kubernetes_own() => {
                wanted.labels.insert(key, label_value(&value));
            }
            Ok(_) | Err(_) => {
                wanted.refused.insert(key);
            }
        }
    }
    Ok(Some(wanted))
}

/// Whether a label is the one that draws the pods of one of these features.
fn is_of_one_of(key: &str, features: &[FeatureName]) -> bool {
    let feature = key.strip_suffix("_enabled");
    feature.is_some_and(|feature| features.iter().any(|name| name.as_str() == feature))
}

fn say_who_we_are(paths: &Paths, switch: &mut Switch) -> Result<(), SonicError> {
    let version = sonic_version(&paths.etc_sonic).ok();
    let mut metadata = |field| switch.metadata(field);
    let (hwsku, kind, platform) = (metadata("hwsku")?, metadata("type")?, metadata("platform")?);
    let facts = SwitchFacts {
        sonic_version: version.as_ref().and_then(|version| version.build_version()),
        hwsku: hwsku.as_deref(),
        deployment_type: kind.as_deref(),
        platform: platform.as_deref(),
    };
    for (key, value) in identity_labels(&facts) {
        if switch.label(key.as_str())?.as_deref() != Some(value.as_str()) {
            switch.set_label(key.as_str(), value.as_str())?;
        }
    }
    Ok(())
}
