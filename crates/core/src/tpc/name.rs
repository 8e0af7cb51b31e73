//! The name of a third-party container: it becomes a directory, a unit, a container and an image repository.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::NameError;
use crate::name::check;

const WHAT: &str = "TPC name";
const MAX: usize = 63;
const RULE: &str = "lower-case letters and digits, with single '.', '_' or '-' between them";
const RESERVED_RULE: &str = "this word is reserved; choose another one";

/// Words that mean something else to a command, to Docker or to SONiC, whatever else is on the switch.
const RESERVED: [&str; 17] = [
    "all",
    "container",
    "database",
    "default",
    "defaults",
    "docker",
    "host",
    "localhost",
    "none",
    "self",
    "sonic",
    "store",
    "system",
    "systemd",
    "tpc",
    "tpcm",
    "switchyard",
];

/// What systemd takes for the kind of a unit.
const UNIT_KINDS: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// A name that can be all of these at once. Whether a feature, unit or container has it already, the switch knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TpcName(String);

impl TpcName {
    /// Takes what a directory, a unit, a container and a repository may all be called.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(WHAT, text, MAX, RULE, |_, c| is_word(c) || is_separator(c))?;
        let bad = |rule| NameError::BadCharacter { what: WHAT, text: text.to_owned(), rule };
        // Empty words are at both ends of a separator that stands at an end, and between two that stand together.
        if text.split(is_separator).any(str::is_empty) {
            return Err(bad(RULE));
        }
        let kind = text.rsplit_once('.').map_or("", |(_, kind)| kind);
        if RESERVED.contains(&text) || UNIT_KINDS.contains(&kind) {
            return Err(bad(RESERVED_RULE));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its systemd unit.
    pub fn unit(&self) -> String {
        format!("{}.service", self.0)
    }

    /// The name of the container of the version before, while an operation is under way. No TPC can have it, nor the
    /// next two: capitals are the engine's alone.
    pub fn set_aside(&self) -> String {
        format!("{}.BEFORE", self.0)
    }

    /// The name of the container of the version to come, until it is put in place.
    pub fn next(&self) -> String {
        format!("{}.NEXT", self.0)
    }

    /// The name of a container without mounts, out of which the image's own files are read.
    pub fn bare(&self) -> String {
        format!("{}.IMAGE", self.0)
    }

    /// Every name that a container of this TPC may have.
    pub fn containers(&self) -> [String; 4] {
        [self.0.clone(), self.set_aside(), self.next(), self.bare()]
    }

    /// The only repository that its images are named in.
    pub fn repository(&self) -> String {
        format!("tpc/{}", self.0)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | '_' | '-')
}

impl TryFrom<&str> for TpcName {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for TpcName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for TpcName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl From<TpcName> for String {
    fn from(name: TpcName) -> Self {
        name.0
    }
}

impl fmt::Display for TpcName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_a_directory_a_unit_a_container_and_a_repository_or_is_refused() {
        for good in ["a", "web", "my-app_2.0", "9front", &"x".repeat(63)] {
            assert!(TpcName::parse(good).is_ok(), "{good:?} was refused");
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "a-",
            "a--b",
            "a..b",
            ".store",
            "A",
            "a/b",
            "a b",
            "a\n",
            "ä",
            "a@1",
            "%i",
            "../etc",
            &"x".repeat(64),
        ] {
            assert!(TpcName::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn reserved_words_are_refused_as_such() {
        for bad in ["database", "tpcm", "all", "snmp.service", "a.target"] {
            let error = TpcName::parse(bad).unwrap_err().to_string();
            assert!(error.contains("reserved") && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_tpcs_containers_have_names_that_no_other_tpc_can_have() {
        let [own, others @ ..] = TpcName::parse("web").unwrap().containers();
        assert_eq!(own, "web");
        for name in others {
            assert!(TpcName::parse(&name).is_err(), "{name}");
            assert!(crate::ContainerId::parse(&name).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_stays_in_its_place(text in "[a-zA-Z0-9._/@ -]{0,70}") {
            if let Ok(name) = TpcName::parse(&text) {
                prop_assert!(crate::Repository::parse(&name.repository()).is_ok());
                prop_assert!(crate::ContainerId::parse(name.as_str()).is_ok());
                prop_assert!(!name.as_str().starts_with('.') && !name.as_str().contains('/'));
            }
        }
    }
}
