//! Texts of Kubernetes that have a form: names, label keys and values. Checked once, here, as types.

use std::fmt;

/// Why a text is not what it was taken for. A secret is never quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The text may be shown.
    #[error("{what} {} is not valid: {rule}", shown(text))]
    Open {
        /// Which kind of text was wanted.
        what: &'static str,
        /// The given text.
        text: String,
        /// What is allowed instead.
        rule: &'static str,
    },
    /// The text may not be shown.
    #[error("{what} is not valid: {rule}")]
    Secret {
        /// Which kind of text was wanted.
        what: &'static str,
        /// What is allowed instead.
        rule: &'static str,
    },
}

/// So much of a bad text is shown; the rest would bury the message.
const SHOWN: usize = 60;

fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(SHOWN).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

/// Kubernetes' limit for label values and for each name in them.
const LABEL_MAX: usize = 63;

/// Kubernetes' limit for DNS names, as which most of its names must do.
const DNS_MAX: usize = 253;

const NODE_RULE: &str = "a node's name is the host name in lower case, at most 63 letters, digits, '-' and '.', with a \
     letter or digit at both ends of each part; set another with: config hostname";
const KEY_RULE: &str = "a label's key is at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both \
     ends; before it there may be a DNS name and '/'";
const VALUE_RULE: &str =
    "a label's value is at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";

/// The name of this switch's Node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// The name that a switch with this host name has: the kubelet and SONiC write it in lower case.
    ///
    /// Shorter than Kubernetes demands of a Node, because it is also the value of the label `kubernetes.io/hostname`.
    pub fn from_host_name(host: &str) -> Result<Self, FormError> {
        let name = host.to_ascii_lowercase();
        if name.len() > LABEL_MAX || !is_dns_name(&name) {
            return Err(FormError::Open { what: "node name", text: host.to_owned(), rule: NODE_RULE });
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of a label or an annotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(String);

impl LabelKey {
    /// Takes a name, or a DNS name, `/` and a name.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let (prefix, name) = match text.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, text),
        };
        if name.is_empty() || !is_label_text(name) || !prefix.is_none_or(is_dns_name) {
            return Err(FormError::Open { what: "label key", text: text.to_owned(), rule: KEY_RULE });
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether Kubernetes keeps this key for itself, so that a node may not set it freely.
    pub fn is_kubernetes_own(&self) -> bool {
        let prefix = self.0.split_once('/').map_or("", |(prefix, _)| prefix);
        ["kubernetes.io", "k8s.io"].iter().any(|domain| {
            prefix.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(String);

impl LabelValue {
    /// Takes a text that is a value as it stands.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        if !is_label_text(text) {
            return Err(FormError::Open { what: "label value", text: text.to_owned(), rule: VALUE_RULE });
        }
        Ok(Self(text.to_owned()))
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Any text as a label's value: what is not allowed becomes `-`, what is too long is cut.
///
/// SONiC's own `ctrmgrd` pushed values as they are, and one `+` in a version failed all labels (SONIC.md 12.2).
pub fn label_value(text: &str) -> LabelValue {
    let is_end = |c: char| !c.is_ascii_alphanumeric();
    let text = text.trim_start_matches(is_end);
    let valid: String =
        text.chars().take(LABEL_MAX).map(|c| if is_label_char(c) { c } else { '-' }).collect();
    LabelValue(valid.trim_end_matches(is_end).to_owned())
}

/// What there is to say where a label's value is not the text that was to be said.
pub fn altered(text: &str, value: &LabelValue) -> Option<String> {
    if text == value.as_str() {
        return None;
    }
    let said = if value.as_str().is_empty() { "nothing".to_owned() } else { format!("{:?}", value.as_str()) };
    Some(format!("{} can be no label's value, so the label says {said}: {VALUE_RULE}", shown(text)))
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Empty, or of label characters with a letter or digit at both ends.
fn is_label_text(text: &str) -> bool {
    text.len() <= LABEL_MAX && text.chars().all(is_label_char) && ends_well(text)
}

fn ends_well(text: &str) -> bool {
    [text.chars().next(), text.chars().next_back()].iter().flatten().all(char::is_ascii_alphanumeric)
}

/// A name as DNS and Kubernetes have it, in lower case.
pub(crate) fn is_dns_name(text: &str) -> bool {
    text.len() <= DNS_MAX
        && text.split('.').all(|part| {
            (1..=63).contains(&part.len())
                && ends_well(part)
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_called_as_its_host_in_lower_case() {
        assert_eq!(NodeName::from_host_name("Str-S6000-1").unwrap().as_str(), "str-s6000-1");
        assert!(NodeName::from_host_name("switch1.lab.example").is_ok());
        for bad in ["", "a_b", "-a", "a-", "a..b", "a/b", "../x", "ä", "a b", &"x".repeat(64)] {
            let error = NodeName::from_host_name(bad).unwrap_err();
            assert!(error.to_string().contains("config hostname"), "{error}");
        }
    }

    #[test]
    fn keys_are_kubernetes_keys() {
        for good in ["snmp_enabled", "worker.sonic/platform", "a", &format!("{}/x", "a".repeat(63))] {
            assert!(LabelKey::parse(good).is_ok(), "{good:?} was refused");
        }
        for bad in [
            "",
            "/x",
            "x/",
            "a/b/c",
            "a b",
            "_a",
            "a_",
            "UP.case/x",
            "a+b",
            &"x".repeat(64),
            "x_y/z",
            "{{x}}",
        ] {
            assert!(LabelKey::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn keys_of_kubernetes_own_domains_are_known() {
        let own = |text: &str| LabelKey::parse(text).unwrap().is_kubernetes_own();
        assert!(own("kubernetes.io/hostname") && own("node.kubernetes.io/x") && own("a.k8s.io/x"));
        assert!(!own("worker.sonic/platform") && !own("notk8s.io/x") && !own("kubernetes.io"));
    }

    /// BI#26826, SONIC.md 12.2: one `+` in a version failed all labels, and what a shell reads was run.
    #[test]
    fn any_text_becomes_a_value_that_kubernetes_takes() {
        let cases = [
            ("Force10-S6000", "Force10-S6000"),
            ("20250510.07+dirty build", "20250510.07-dirty-build"),
            ("+leading and trailing_", "leading-and-trailing"),
            ("ÄÖ", ""),
            ("Größe", "Gr--e"),
            ("", ""),
            ("...", ""),
        ];
        for (text, value) in cases {
            assert_eq!(label_value(text).as_str(), value);
        }
        let long = label_value(&format!("{}-tail", "x".repeat(62)));
        assert_eq!(long.as_str(), "x".repeat(62), "a cut does not leave a '-' at the end");
        for text in ["a+b", " x ", &"ü-".repeat(100), &"a.".repeat(100), "\0\n"] {
            assert!(LabelValue::parse(label_value(text).as_str()).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_long_garbage_is_not_repeated_in_full() {
        let error = LabelKey::parse(&"ü".repeat(100_000)).unwrap_err().to_string();
        assert!(error.len() < 500, "{}", error.len());
    }
}
