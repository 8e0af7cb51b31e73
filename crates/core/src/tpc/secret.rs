//! A password: handed on, and never shown.

use std::fmt;

/// A password or passphrase. It has no text form, so that no log, record or error can have it by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes it as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Itself: to be sent to whom it is for, and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_handed_on_and_not_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?} {:#?}", Some(&secret)).contains("hunter2"));
    }
}
