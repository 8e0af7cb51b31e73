//! The labels that say which switch a node is (SONIC.md 2.5), so that DaemonSets pick the right image for it.

use std::collections::BTreeMap;

use crate::forms::{LabelKey, LabelValue, altered, label_value};

/// What is known of the switch, as its rows and files have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwitchFacts<'a> {
    /// `build_version` of `sonic_version.yml`.
    pub sonic_version: Option<&'a str>,
    /// `DEVICE_METADATA|localhost.hwsku`.
    pub hwsku: Option<&'a str>,
    /// `DEVICE_METADATA|localhost.type`.
    pub deployment_type: Option<&'a str>,
    /// `DEVICE_METADATA|localhost.platform`, or what `machine.conf` says.
    pub platform: Option<&'a str>,
}

/// SONiC's four identity labels, always valid. What is not known is left out, except the type, which is then `unknown`.
pub fn identity_labels(facts: &SwitchFacts<'_>) -> BTreeMap<LabelKey, LabelValue> {
    let known = texts(facts).filter_map(|(key, text)| {
        let value = label_value(text);
        (!value.as_str().is_empty()).then_some((LabelKey::parse(key).ok()?, value))
    });
    known.collect()
}

/// Which of them do not say what the switch's rows and files do, and why.
pub fn identity_troubles(facts: &SwitchFacts<'_>) -> BTreeMap<String, String> {
    let altered = |(key, text): (&str, &str)| Some((key.to_owned(), altered(text, &label_value(text))?));
    texts(facts).filter_map(altered).collect()
}

/// What is known, by the names of the labels.
fn texts<'a>(facts: &SwitchFacts<'a>) -> impl Iterator<Item = (&'static str, &'a str)> {
    let deployment_type = facts.deployment_type.filter(|text| !text.is_empty()).unwrap_or("unknown");
    let texts = [
        ("sonic_version", facts.sonic_version),
        ("hwsku", facts.hwsku),
        ("deployment_type", Some(deployment_type)),
        ("worker.sonic/platform", facts.platform),
    ];
    texts.into_iter().filter_map(|(key, text)| Some((key, text?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(facts: SwitchFacts<'_>) -> String {
        let labels: Vec<String> =
            identity_labels(&facts).iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(" ")
    }

    #[test]
    fn a_switch_is_told_by_four_labels() {
        let facts = SwitchFacts {
            sonic_version: Some("20250510.07+dirty"),
            hwsku: Some("Force10 S6000"),
            deployment_type: Some("ToRRouter"),
            platform: Some("x86_64-dell_s6000_s1220-r0"),
        };
        assert_eq!(
            told(facts),
            "deployment_type=ToRRouter hwsku=Force10-S6000 sonic_version=20250510.07-dirty \
             worker.sonic/platform=x86_64-dell_s6000_s1220-r0"
        );
    }

    #[test]
    fn what_is_not_known_or_cannot_be_said_is_left_out() {
        assert_eq!(told(SwitchFacts::default()), "deployment_type=unknown");
        let odd = SwitchFacts { hwsku: Some("+++"), deployment_type: Some(""), ..SwitchFacts::default() };
        assert_eq!(told(odd), "deployment_type=unknown");
    }

    #[test]
    fn what_is_not_said_as_it_stands_is_told_with_what_is_said_instead() {
        let facts = SwitchFacts {
            sonic_version: Some("20250510.07"),
            hwsku: Some("Force10+S6000 with blanks"),
            deployment_type: Some(""),
            platform: Some("+++"),
        };
        let troubles = identity_troubles(&facts);
        assert_eq!(troubles.keys().collect::<Vec<_>>(), ["hwsku", "worker.sonic/platform"]);
        for words in ["\"Force10+S6000 with blanks\"", "\"Force10-S6000-with-blanks\""] {
            assert!(troubles["hwsku"].contains(words), "{troubles:?}");
        }
        assert!(troubles["worker.sonic/platform"].contains("says nothing"), "{troubles:?}");
    }
}
