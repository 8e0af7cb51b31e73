//! Why it does not go as it should: told once for each kind of trouble, whatever words it comes in.

use std::collections::BTreeSet;
use std::fmt;

use switchyard_cluster::ClusterError;

use crate::world::Trouble;

/// So many different kinds are logged in a row; a server that is away finds no more.
const TOLD_MAX: usize = 32;

/// One trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Why {
    /// What kind it is: a server that is away is refused, reset or without a route by turns.
    kind: String,
    words: String,
}

impl Why {
    /// For people.
    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<&ClusterError> for Why {
    fn from(error: &ClusterError) -> Self {
        Self { kind: error.reason().to_owned(), words: error.to_string() }
    }
}

impl From<ClusterError> for Why {
    fn from(error: ClusterError) -> Self {
        Self::from(&error)
    }
}

/// What has no kind but its words.
impl From<String> for Why {
    fn from(words: String) -> Self {
        Self { kind: words.clone(), words }
    }
}

impl From<&str> for Why {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

impl From<Trouble> for Why {
    fn from(Trouble(words): Trouble) -> Self {
        words.into()
    }
}

/// The kinds that were told since it last went well.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<String>);

impl Told {
    /// Whether this is to be told now.
    pub(super) fn is_news(&mut self, why: &Why) -> bool {
        self.0.len() < TOLD_MAX && self.0.insert(why.kind.clone())
    }

    /// The next trouble is another one.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use switchyard_cluster::ServerAddress;

    use super::*;

    fn server() -> ServerAddress {
        ServerAddress::new("10.0.0.5", 6443).unwrap()
    }

    fn away(cause: &str) -> Why {
        ClusterError::Unreachable { server: server(), cause: cause.to_owned() }.into()
    }

    fn hangs() -> Why {
        ClusterError::TimedOut { server: server(), after: Duration::from_secs(10) }.into()
    }

    #[test]
    fn an_outage_is_told_once_in_whatever_words_it_comes() {
        let mut told = Told::default();
        assert!(told.is_news(&away("Connection refused")));
        for _ in 0..1000 {
            for words in ["Connection refused", "Connection reset by peer", "No route to host"] {
                assert!(!told.is_news(&away(words)), "{words}");
            }
        }
    }

    #[test]
    fn a_server_that_hangs_is_told_once_whatever_else_it_does_by_turns() {
        let mut told = Told::default();
        let lines = (0..1000).flat_map(|_| [hangs(), away("Connection refused"), hangs()]);
        let lines: Vec<_> = lines.filter(|why| told.is_news(why)).collect();
        assert_eq!(lines, [hangs(), away("Connection refused")]);
    }

    #[test]
    fn after_it_went_well_the_same_trouble_is_news_again() {
        let mut told = Told::default();
        assert!(told.is_news(&hangs()) && !told.is_news(&hangs()));
        told.forget();
        assert!(told.is_news(&hangs()));
    }

    #[test]
    fn months_of_ever_new_words_fill_no_log() {
        let mut told = Told::default();
        let lines = (0..1000).filter(|number| told.is_news(&Why::from(number.to_string()))).count();
        assert_eq!(lines, TOLD_MAX);
    }
}
