//! What this switch's node is to be labelled with, by the rows: who it is, and KUBE_LABELS, made valid (SONIC.md 2.5).
//!
//! Putting it on the node is the membership's. What cannot be said as it stands is told there, and by
//! `show kubernetes status`, in the same words.

use std::collections::BTreeMap;

use switchyard_cluster::{
    FormError, LabelKey, LabelValue, SwitchFacts, altered, identity_labels, identity_troubles, label_value,
};
use switchyard_core::FeatureName;
use switchyard_sonic::{Paths, SonicError, Switch, sonic_version};

/// What the rows ask for.
pub(crate) struct Wanted {
    pub(crate) labels: BTreeMap<LabelKey, LabelValue>,
    /// Which are not as they were given, and why.
    pub(crate) troubles: BTreeMap<String, String>,
    /// All features that there are.
    pub(crate) features: Vec<FeatureName>,
}

/// All labels of the rows, after what the switch says of itself has been put there too. Nothing while the configuration
/// is not loaded: what is missing then is not meant so.
pub(crate) fn wanted(paths: &Paths) -> Result<Option<Wanted>, SonicError> {
    let mut switch = Switch::open(paths.clone())?;
    if !switch.config_initialized()? {
        return Ok(None);
    }
    for (key, value) in of_switch(paths, &mut switch, identity_labels)? {
        if switch.label(key.as_str())?.as_deref() != Some(value.as_str()) {
            switch.set_label(key.as_str(), value.as_str())?;
        }
    }
    let features = switch.feature_names()?;
    let (labels, refused) = of_rows(switch.labels()?);
    let mut troubles = of_switch(paths, &mut switch, identity_troubles)?;
    troubles.extend(refused);
    Ok(Some(Wanted { labels, troubles, features }))
}

/// Which labels are not on the node as they were given, and why, by their names.
pub fn label_troubles(paths: &Paths, switch: &mut Switch) -> Result<BTreeMap<String, String>, SonicError> {
    let mut troubles = of_switch(paths, switch, identity_troubles)?;
    troubles.extend(of_rows(switch.labels()?).1);
    Ok(troubles)
}

/// What follows from who this switch is.
fn of_switch<T>(
    paths: &Paths,
    switch: &mut Switch,
    tell: impl FnOnce(&SwitchFacts<'_>) -> T,
) -> Result<T, SonicError> {
    let version = sonic_version(&paths.etc_sonic).ok();
    let mut metadata = |field| switch.metadata(field);
    let (hwsku, kind, platform) = (metadata("hwsku")?, metadata("type")?, metadata("platform")?);
    Ok(tell(&SwitchFacts {
        sonic_version: version.as_ref().and_then(|version| version.build_version()),
        hwsku: hwsku.as_deref(),
        deployment_type: kind.as_deref(),
        platform: platform.as_deref(),
    }))
}

/// The labels of KUBE_LABELS, and what is wrong with those that are refused or altered.
fn of_rows(rows: Vec<(String, String)>) -> (BTreeMap<LabelKey, LabelValue>, BTreeMap<String, String>) {
    let (mut labels, mut troubles) = (BTreeMap::new(), BTreeMap::new());
    for (key, text) in rows {
        let why = match LabelKey::parse(&key) {
            Ok(name) if name.is_kubernetes_own() => {
                Some("no node label: Kubernetes keeps the names of its own domains for itself".to_owned())
            }
            Ok(name) => {
                let value = label_value(&text);
                let why = altered(&text, &value);
                labels.insert(name, value);
                why
            }
            Err(FormError::Open { rule, .. } | FormError::Secret { rule, .. }) => {
                Some(format!("no node label: {rule}"))
            }
        };
        troubles.extend(why.map(|why| (key, why)));
    }
    (labels, troubles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_refused_or_altered_says_why_and_keeps_no_other_from_the_node() {
        let rows = [
            ("rack", "r1"),
            ("lab/x", ""),
            ("owner", "the lab"),
            ("no label!", "1"),
            ("node.kubernetes.io/x", "1"),
        ];
        let rows = rows.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let (labels, troubles) = of_rows(rows);
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["lab/x=", "owner=the-lab", "rack=r1"]);
        let told: Vec<&str> = troubles.keys().map(String::as_str).collect();
        assert_eq!(told, ["no label!", "node.kubernetes.io/x", "owner"]);
        assert!(troubles["no label!"].contains("at most 63 letters"), "{troubles:?}");
        assert!(troubles["owner"].contains("\"the lab\""), "{troubles:?}");
    }
}
