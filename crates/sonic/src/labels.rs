//! The wanted labels of this switch's node: STATE_DB `KUBE_LABELS|SET` (SONIC.md 2.5).
//!
//! A label that is to be on the node is a field. One that is dropped is a field no more, where SONiC's own `label drop`
//! writes "false": whoever keeps the node's labels takes off those that he has put there and that are wanted no more,
//! and leaves alone what others have put there. He must therefore remember what he has put.

use crate::switch::{LABELS_KEY, LABELS_TABLE, STATE};
use crate::{SonicError, Switch};

/// The longest name and the longest value of a label.
pub(crate) const NAME_MAX: usize = 63;
/// The longest prefix of a name, and the longest DNS name.
const PREFIX_MAX: usize = 253;

/// Why the server would not take a label. One bad label makes it refuse all that come with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLabel {
    /// The name.
    #[error(
        "Invalid label name {0:?}: it must be at most 63 letters, digits, '-', '_' and '.', beginning and ending with \
         a letter or digit, after a DNS name and '/' if it has a prefix"
    )]
    Name(String),
    /// The value.
    #[error(
        "Invalid label value {0:?}: it must be at most 63 letters, digits, '-', '_' and '.', beginning and ending with \
         a letter or digit"
    )]
    Value(String),
}

/// A label that a server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    name: String,
    value: String,
}

impl Label {
    /// Takes what Kubernetes takes.
    pub fn parse(name: &str, value: &str) -> Result<Self, BadLabel> {
        let (prefix, rest) = name.split_once('/').map_or((None, name), |(prefix, rest)| (Some(prefix), rest));
        if rest.is_empty() || !is_word(rest) || prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
            return Err(BadLabel::Name(shown(name)));
        }
        if !is_word(value) {
            return Err(BadLabel::Value(shown(value)));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }

    /// Its name, with its prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// What may stand in a label's value, or in its name after the prefix. A value may be empty.
fn is_word(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= NAME_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

/// A DNS name in lower case.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= PREFIX_MAX
        && text.split('.').all(|part| {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (1..=NAME_MAX).contains(&part.len())
                && part.chars().all(allowed)
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

/// So much of a bad text is shown; the rest would bury the message.
fn shown(text: &str) -> String {
    text.chars().take(NAME_MAX + 1).collect()
}

impl Switch {
    /// All wanted labels with their values, in Redis' order, as SONiC's `show` has them.
    pub fn labels(&mut self) -> Result<Vec<(String, String)>, SonicError> {
        self.db(None, STATE)?.row_in_order(LABELS_TABLE, LABELS_KEY)
    }

    /// Asks for a label on this switch's node. False if it is asked for already.
    pub fn add_label(&mut self, label: &Label) -> Result<bool, SonicError> {
        if self.label(label.name())?.as_deref() == Some(label.value()) {
            return Ok(false);
        }
        self.set_label(label.name(), label.value())?;
        Ok(true)
    }

    /// Asks for a label no more, whatever its name. False if nobody asked for it.
    pub fn drop_label(&mut self, name: &str) -> Result<bool, SonicError> {
        if self.label(name)?.is_none() {
            return Ok(false);
        }
        self.db(None, STATE)?.delete_fields(LABELS_TABLE, LABELS_KEY, &[name])?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_takes_is_a_label() {
        let (long, longest) = ("a".repeat(63), format!("{}.de/x", "b".repeat(63)));
        for (name, value) in [
            ("snmp_enabled", "true"),
            ("worker.sonic/platform", "x86_64-lab-r0"),
            ("sonic_version", "20250510.07"),
            ("X", ""),
            (&long, &long),
            (&longest, "1"),
        ] {
            let label = Label::parse(name, value).unwrap();
            assert_eq!((label.name(), label.value()), (name, value));
        }
    }

    /// BI#26826: a label went through a shell.
    #[test]
    fn what_kubernetes_would_refuse_is_none() {
        let (long, prefix) = ("a".repeat(64), format!("{}/x", "b".repeat(64)));
        for name in
            ["", "/", "x/", "/x", "a/b/c", "-x", "x-", "x y", "x\n", "ä", "UPPER/x", "_x", &long, &prefix]
        {
            assert_eq!(Label::parse(name, "true"), Err(BadLabel::Name(name.chars().take(64).collect())));
        }
        for value in ["a+b", "a b", "-a", "a.", "a/b", "a;b", "a$(b)", "a`b`", &long] {
            assert_eq!(Label::parse("x", value), Err(BadLabel::Value(value.to_owned())));
        }
    }
}
