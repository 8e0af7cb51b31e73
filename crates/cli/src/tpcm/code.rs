//! The exit code of each kind of failure, as `tpcm --help` promises them.

use std::io;

use switchyard_engine::{EngineError, PullError};
use switchyard_tpc::archive::ArchiveError;
use switchyard_tpc::fetch::FetchError;
use switchyard_tpc::ops::OpsError;
use switchyard_tpc::store::StoreError;

use crate::error::sonic_code;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NO_SUCH: u8 = 3;
const DENIED: u8 = 5;
const ENGINE: u8 = 7;
const REFUSED: u8 = 8;
const LOCKED: u8 = 9;
const DOES_NOT_RUN: u8 = 10;
const UNREACHABLE: u8 = 11;
const LOGIN: u8 = 12;
const NOT_TRUSTED: u8 = 13;
const NOT_AN_IMAGE: u8 = 14;
const DIGEST: u8 = 15;
const NO_SPACE: u8 = 16;
const LIMITS: u8 = 17;
const HOOK: u8 = 18;
const STORE: u8 = 19;
const INCONSISTENT: u8 = 20;
const ARGUMENTS: u8 = 21;
const SONIC_PACKAGE: u8 = 22;

/// The code that an error bears.
pub(crate) fn exit_code(error: &OpsError) -> u8 {
    match error {
        OpsError::NotInstalled(_) => NO_SUCH,
        OpsError::Installed(_)
        | OpsError::NothingImported(_)
        | OpsError::DataInTheWay(_)
        | OpsError::NoLayersLeft(_)
        | OpsError::NameTaken { .. }
        | OpsError::NothingBefore(_)
        | OpsError::Planted(_) => REFUSED,
        OpsError::Locked { .. } => LOCKED,
        OpsError::Fetch(error) => fetch(error),
        OpsError::Archive(error) => archive(error),
        OpsError::Store(error) => store(error),
        OpsError::Engine(error) => engine(error),
        OpsError::Pull(error) => pull(error),
        OpsError::Login(_) => LOGIN,
        OpsError::WrongManifest { .. } => DIGEST,
        OpsError::Switch(error) => sonic_code(error),
        OpsError::Args(_) => ARGUMENTS,
        OpsError::NotAdmitted(_) => LIMITS,
        OpsError::SonicPackage(_) => SONIC_PACKAGE,
        OpsError::NotOneImage { .. } | OpsError::PodLabel(_) => NOT_AN_IMAGE,
        OpsError::NoSpace { .. } => NO_SPACE,
        OpsError::NotUp { .. } => DOES_NOT_RUN,
        OpsError::Hook { .. } | OpsError::BrokenData { .. } => HOOK,
        OpsError::Inconsistent { .. } | OpsError::Unfinished { .. } | OpsError::Stuck(_) => INCONSISTENT,
        OpsError::File { source, .. } => file(source),
        OpsError::Damaged { .. } => STORE,
        // As a shell has it of a process that died of one.
        OpsError::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(FAILED),
        OpsError::FailPoint(_) => FAILED,
    }
}

fn fetch(error: &FetchError) -> u8 {
    match error {
        FetchError::NameNotFound { .. }
        | FetchError::Refused(_)
        | FetchError::Unreachable { .. }
        | FetchError::NoAnswer { .. }
        | FetchError::Interface { .. }
        | FetchError::Status { .. }
        | FetchError::Redirect { .. }
        | FetchError::Protocol { .. }
        | FetchError::Cut { .. }
        | FetchError::Stalled { .. }
        | FetchError::Remote { .. }
        | FetchError::NotOffered { .. }
        | FetchError::Media { .. } => UNREACHABLE,
        FetchError::Certificate { .. }
        | FetchError::Tls { .. }
        | FetchError::Authorities { .. }
        | FetchError::ClearPassword(_)
        | FetchError::UnknownHostKey { .. }
        | FetchError::ChangedHostKey { .. }
        | FetchError::RevokedHostKey { .. } => NOT_TRUSTED,
        FetchError::Login { .. }
        | FetchError::WrongPassword { .. }
        | FetchError::KeyRefused { .. }
        | FetchError::NoLogin { .. }
        | FetchError::KeyFile { .. } => LOGIN,
        FetchError::DigestMismatch { .. } => DIGEST,
        FetchError::NoSpace { .. } => NO_SPACE,
        FetchError::File { source, .. } => file(source),
        FetchError::Registry(_) => USAGE,
    }
}

fn archive(error: &ArchiveError) -> u8 {
    match error {
        ArchiveError::NotAnImage(_)
        | ArchiveError::Truncated
        | ArchiveError::Damaged(_)
        | ArchiveError::Bomb { .. }
        | ArchiveError::TooMany { .. }
        | ArchiveError::Memory { .. }
        | ArchiveError::BadEntry { .. }
        | ArchiveError::Duplicate(_)
        | ArchiveError::Missing(_)
        | ArchiveError::Platform(_) => NOT_AN_IMAGE,
        ArchiveError::TooLarge { .. } => NO_SPACE,
        ArchiveError::WrongDigest { .. } => DIGEST,
        ArchiveError::Input(_) => UNREACHABLE,
        ArchiveError::Store(error) => store(error),
    }
}

fn store(error: &StoreError) -> u8 {
    if error.is_full() {
        return NO_SPACE;
    }
    match error {
        StoreError::Io { cause, .. } => file(cause),
        StoreError::Newer { .. }
        | StoreError::NoVersion(_)
        | StoreError::NoSuchImage(_)
        | StoreError::Damaged { .. } => STORE,
        StoreError::Output(_) => ENGINE,
    }
}

fn engine(error: &EngineError) -> u8 {
    if matches!(error, EngineError::Denied(_)) { DENIED } else { ENGINE }
}

fn pull(error: &PullError) -> u8 {
    match error {
        PullError::Engine(error) => engine(error),
        PullError::Login { .. } => LOGIN,
        PullError::NotFound(_) | PullError::Unreachable { .. } | PullError::Stalled { .. } => UNREACHABLE,
        PullError::Certificate { .. } => NOT_TRUSTED,
        PullError::NoSpace { .. } | PullError::GivenUp(_) => NO_SPACE,
        PullError::Failed { .. } => ENGINE,
    }
}

fn file(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::PermissionDenied => DENIED,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NO_SPACE,
        io::ErrorKind::AlreadyExists => REFUSED,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::CommandFactory;

    use super::*;
    use crate::tpcm::Tpcm;

    #[test]
    fn a_full_disk_bears_one_code_wherever_it_is_met() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = PathBuf::from("/host/tpc");
        for error in [
            OpsError::File { action: "write", path: path.clone(), source: full() },
            OpsError::Store(StoreError::Io { what: "write", path: path.clone(), cause: full() }),
            OpsError::Archive(ArchiveError::Store(StoreError::Io { what: "write", path, cause: full() })),
            OpsError::Fetch(FetchError::NoSpace { needed: None, available: 1 }),
        ] {
            assert_eq!(exit_code(&error), NO_SPACE, "{error}");
        }
    }

    #[test]
    fn every_code_is_told_by_help() {
        let help = Tpcm::command().render_long_help().to_string();
        for code in FAILED..=SONIC_PACKAGE {
            assert!(help.contains(&format!("{code} ")), "{code}: {help}");
        }
    }
}
