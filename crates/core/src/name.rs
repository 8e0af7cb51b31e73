//! Names and ids, each validated once at the edge, so that none can be mistaken for another or leave its place
//! when it becomes part of a path, a unit name, a row key or a label.

use std::fmt;

use serde::Serialize;

/// Why a text is not the name it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of name was wanted.
        what: &'static str,
    },
    /// More characters than the kind allows.
    #[error("{what} has {len} characters, at most {max} are allowed")]
    TooLong {
        /// Which kind of name was wanted.
        what: &'static str,
        /// How long the given text is.
        len: usize,
        /// How long it may be.
        max: usize,
    },
    /// A character that the kind does not allow.
    #[error("{what} {text:?} is not valid: {rule}")]
    BadCharacter {
        /// Which kind of name was wanted.
        what: &'static str,
        /// The given text.
        text: String,
        /// What is allowed instead.
        rule: &'static str,
    },
}

pub(crate) fn check(
    what: &'static str,
    text: &str,
    max: usize,
    rule: &'static str,
    allowed: impl Fn(usize, char) -> bool,
) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    let len = text.chars().count();
    if len > max {
        return Err(NameError::TooLong { what, len, max });
    }
    if !text.chars().enumerate().all(|(at, c)| allowed(at, c)) {
        return Err(NameError::BadCharacter { what, text: text.to_owned(), rule });
    }
    Ok(())
}

/// The name of a feature, the key of its FEATURE row (SONIC.md 2.1: 1 to 32 characters).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FeatureName(String);

impl FeatureName {
    /// Takes letters, digits, `_` and `-`, beginning with a letter or digit.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(
            "feature name",
            text,
            32,
            "letters, digits, '_' and '-' only, beginning with a letter or digit",
            |at, c| c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '_' | '-')),
        )?;
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `database` carries the rows themselves: it is started before us and never ours to run.
    pub fn is_database(&self) -> bool {
        self.0 == "database"
    }
}

impl fmt::Display for FeatureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of an ASIC of a multi-ASIC switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AsicId(pub u8);

impl fmt::Display for AsicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the engine is told in order to find a container: an id, or the name of a local one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ContainerId(String);

impl ContainerId {
    /// SONiC records the first twelve digits of a pod's container id.
    pub const SHORT: usize = 12;

    /// Takes what the engine takes: letters, digits, `_`, `.` and `-`, beginning with a letter or digit.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(
            "container id",
            text,
            128,
            "letters, digits, '_', '.' and '-' only, beginning with a letter or digit",
            |at, c| c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '_' | '.' | '-')),
        )?;
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that SONiC writes into rows.
    pub fn short(&self) -> Self {
        Self(self.0.chars().take(Self::SHORT).collect())
    }

    /// Whether both name the same container: rows hold twelve digits, the engine reports sixty-four.
    pub fn same_as(&self, other: &Self) -> bool {
        let (short, long) = if self.0.len() <= other.0.len() { (self, other) } else { (other, self) };
        short == long || (short.0.len() >= Self::SHORT && long.0.starts_with(&short.0))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of an image's `IMAGE_VERSION`. Versions are compared for equality only: going back is an update too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Version(String);

impl Version {
    /// Takes any printable ASCII text without spaces, up to 128 characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check("version", text, 128, "printable characters without spaces only", |_, c| c.is_ascii_graphic())?;
        Ok(Self(text.to_owned()))
    }

    /// The version as text, in the case it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Equality as SONiC's start-up script has it: without regard to case.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_name_never_becomes_a_path_an_option_or_two_words() {
        for bad in
            ["", "../x", "a b", "-v", "a/b", "a\n", "ä", ".", "_x", &"x".repeat(300), "x|y", "x;y", "{{x}}"]
        {
            assert!(FeatureName::parse(bad).is_err(), "{bad:?} was taken");
        }
        for good in ["bgp", "dhcp_relay", "mgmt-framework", "p4rt", &"x".repeat(32)] {
            assert!(FeatureName::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn a_short_id_names_the_same_container_as_the_long_one() {
        let long = ContainerId::parse(&"0123456789abcdef".repeat(4)).unwrap();
        assert!(long.short().same_as(&long));
        assert!(!ContainerId::parse("0123").unwrap().same_as(&long));
        assert!(ContainerId::parse("snmp").unwrap().same_as(&ContainerId::parse("snmp").unwrap()));
    }
}
