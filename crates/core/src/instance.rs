//! A feature's instances: one on the host, one for each ASIC, or both (SONIC.md 1.3, 2.8).
//!
//! Keeps apart what shipping code mixes up: the feature (the row key), the instance's container and its unit.

use std::fmt;

use serde::Serialize;

use crate::{AsicId, FeatureName, NameError};

/// One copy of a feature that a switch can run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Instance {
    /// The feature, which is the key of its rows in every namespace.
    pub feature: FeatureName,
    /// The ASIC whose namespace it runs in; none for the host's.
    pub asic: Option<AsicId>,
}

impl Instance {
    /// The host's instance.
    pub fn on_host(feature: FeatureName) -> Self {
        Self { feature, asic: None }
    }

    /// The name of its local container: `bgp`, `bgp0`.
    pub fn container_name(&self) -> String {
        match self.asic {
            None => self.feature.to_string(),
            Some(asic) => format!("{}{asic}", self.feature),
        }
    }

    /// The name of its unit: `bgp.service`, `bgp@0.service`.
    pub fn unit_name(&self) -> String {
        match self.asic {
            None => format!("{}.service", self.feature),
            Some(asic) => format!("{}@{asic}.service", self.feature),
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.container_name())
    }
}

/// Where a feature runs on a switch with several ASICs. With one ASIC it always runs on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// On the host.
    pub global: bool,
    /// Once for each ASIC.
    pub per_asic: bool,
}

/// Why a text names no instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It is no name at all.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The feature has no instance for this ASIC.
    #[error("{feature} has no instance for ASIC {asic}: this switch has {asics} ASIC(s)")]
    NoSuchAsic {
        /// The feature meant.
        feature: FeatureName,
        /// The ASIC asked for.
        asic: AsicId,
        /// How many there are.
        asics: u8,
    },
}

/// The instance that a text such as `bgp`, `bgp0` or `bgp@0` means.
///
/// `is_feature` says whether a name has a FEATURE row. A name that has one is that feature even if it ends in a
/// digit; only then are trailing digits taken for an ASIC.
pub fn resolve(
    text: &str,
    asics: u8,
    is_feature: impl Fn(&FeatureName) -> bool,
) -> Result<Instance, ResolveError> {
    let (base, index) = split_asic(text);
    let whole = FeatureName::parse(text);
    if let Ok(name) = &whole
        && (index.is_none() || is_feature(name))
    {
        return Ok(Instance::on_host(name.clone()));
    }
    let Some(asic) = index else {
        return Err(whole.err().map_or(NameError::Empty { what: "feature name" }, |error| error).into());
    };
    let feature = FeatureName::parse(base)?;
    if !is_feature(&feature) {
        return Ok(Instance::on_host(whole?));
    }
    if asic.0 >= asics || asics < 2 {
        return Err(ResolveError::NoSuchAsic { feature, asic, asics });
    }
    Ok(Instance { feature, asic: Some(asic) })
}

fn split_asic(text: &str) -> (&str, Option<AsicId>) {
    let base = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let index = text.strip_prefix(base).unwrap_or_default().parse().ok().map(AsicId);
    (base.strip_suffix('@').unwrap_or(base), index)
}

/// All instances of a feature on a switch with so many ASICs.
pub fn instances_of(feature: &FeatureName, scope: Scope, asics: u8) -> Vec<Instance> {
    let host = (scope.global || asics < 2).then(|| Instance::on_host(feature.clone()));
    let per_asic = (0..asics)
        .filter(|_| scope.per_asic && asics > 1)
        .map(|asic| Instance { feature: feature.clone(), asic: Some(AsicId(asic)) });
    host.into_iter().chain(per_asic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, asics: u8) -> Result<String, ResolveError> {
        resolve(text, asics, |name| ["bgp", "p4"].contains(&name.as_str())).map(|i| i.unit_name())
    }

    #[test]
    fn a_trailing_number_is_an_asic_only_for_a_feature_that_exists() {
        assert_eq!(resolved("bgp", 2).unwrap(), "bgp.service");
        assert_eq!(resolved("bgp1", 2).unwrap(), "bgp@1.service");
        assert_eq!(resolved("bgp@1", 2).unwrap(), "bgp@1.service");
        assert_eq!(resolved("p4", 2).unwrap(), "p4.service");
        assert_eq!(resolved("other7", 2).unwrap(), "other7.service");
    }

    #[test]
    fn an_asic_that_is_not_there_is_named_in_the_error() {
        assert!(resolved("bgp2", 2).unwrap_err().to_string().contains("ASIC 2"));
        assert!(resolved("bgp0", 1).is_err());
    }

    #[test]
    fn a_single_asic_switch_runs_everything_on_the_host() {
        let bgp = FeatureName::parse("bgp").unwrap();
        let scope = Scope { global: false, per_asic: true };
        assert_eq!(instances_of(&bgp, scope, 1), [Instance::on_host(bgp.clone())]);
        assert_eq!(instances_of(&bgp, scope, 2).len(), 2);
    }
}
