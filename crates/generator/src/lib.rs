//! Units and control scripts from a short description of a feature.
//!
//! [`Description::parse`] reads the description, [`render`] turns it into files without touching anything,
//! [`install`] and [`remove`] change a root file system so that a crash between any two steps is mended by calling
//! them again. What the files do is written as text in `templates/`, next to the code that fills it in.
//!
//! Left to the caller: stopping what runs before its files go, `systemctl daemon-reload`, the FEATURE row in CONFIG_DB
//! ([`Description::feature_row`]) and every word to the user.
//!
//! Holds always: a file that this crate did not write is never replaced or deleted, and no text of a description
//! reaches a shell unquoted, except the hook lines, which are meant as shell.

mod control;
#[cfg(test)]
mod crash;
mod description;
mod error;
mod files;
mod install;
mod names;
mod quote;
mod raw;
mod reader;
mod record;
mod remove;
mod render;
mod services;
mod step;
mod unit;

pub use description::{AutoRestart, Dependency, Description, InitialState, Owner};
pub use error::{DescriptionError, GenerateError};
pub use install::{Edited, install};
pub use record::{Installed, list};
pub use remove::{check_remove, remove};
pub use render::{GeneratedFile, render};

/// What an installation or a removal did; paths are absolute, as seen inside the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Files that are new or have new content.
    pub written: Vec<String>,
    /// Files that were already as they should be.
    pub unchanged: Vec<String>,
    /// Files that are gone.
    pub removed: Vec<String>,
    /// Unit files are among them: systemd must be told to read them again.
    pub units_changed: bool,
}
