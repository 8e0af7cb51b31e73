//! The switch's own interfaces: where its databases are, what their rows say, how to hear of a change, and systemd.
//!
//! Wire words become core types here and nowhere else. What a row *means* for a feature is decided in
//! `switchyard-core`; what is printed or logged about it is the callers' matter.
//!
//! Redis is spoken to synchronously by [`Switch`], since a control script's `container` must be as quick as
//! redis-cli; only [`Changes`] and [`systemd`] need a tokio runtime.

mod boot;
mod changes;
mod credentials;
mod db;
mod dbconfig;
mod error;
mod global;
mod image_names;
mod knobs;
mod labels;
mod next_boot;
mod paths;
pub mod record;
mod rows;
mod server;
mod switch;
pub mod systemd;
mod tpc;
mod version;
mod watch;
mod write;

pub use boot::{BootType, boot_type};
pub use changes::Changes;
pub use credentials::{BadToken, Credentials, TOKEN_MAX, Token};
pub use db::{Db, Fields};
pub use dbconfig::{DbAddress, DbConfig};
pub use error::{RowError, SonicError};
pub use image_names::image_names;
pub use knobs::{load_knobs, read_knobs};
pub use labels::{BadLabel, Label};
pub use next_boot::{NextBoot, next_boot};
pub use paths::Paths;
pub use rows::{parse_bool, parse_config, parse_state};
pub use server::{
    BadHost, BadPort, SERVER_PORT, ServerConfig, ServerHost, ServerStatus, parse_port, parse_server_config,
    parse_server_status,
};
pub use switch::{FeatureKeys, Switch};
pub use systemd::{JobOutcome, UnitStatus, Units};
pub use version::{SonicVersion, local_time, sonic_version, syslog_time, utc_text};
pub use watch::{Changed, Watch};
