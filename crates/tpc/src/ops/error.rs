//! What can go wrong, told apart by what the operator should do about it.

use std::io;
use std::path::{Path, PathBuf};

use switchyard_core::Digest;
use switchyard_core::tpc::{ArgsError, NotAdmitted, Operation, Step, TpcName};
use switchyard_engine::{EngineError, LoginError, PullError};
use switchyard_sonic::SonicError;

use crate::archive::ArchiveError;
use crate::fetch::FetchError;
use crate::store::StoreError;

/// An operation that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// No such TPC.
    #[error("there is no third-party container {0}; see: tpcm list")]
    NotInstalled(TpcName),
    /// It is there already.
    #[error("{0} is installed already: use tpcm upgrade {0}, or another name")]
    Installed(TpcName),
    /// All that an archive has is there already.
    #[error(
        "{0}: installed already, nothing was imported; to have them as in the archive, uninstall them first"
    )]
    NothingImported(String),
    /// What is imported would replace data of an earlier TPC.
    #[error("{} has data of an earlier container, which is not replaced: move it away, and import again", .0.display())]
    DataInTheWay(PathBuf),
    /// The name belongs to somebody else.
    #[error("the name {name} is taken by {by}: choose another one")]
    NameTaken {
        /// The name.
        name: TpcName,
        /// Whose it is.
        by: String,
    },
    /// Another tpcm is at work.
    #[error("another tpcm is at work: {holder}; wait for it, or leave out --no-wait")]
    Locked {
        /// Process and command that hold the lock.
        holder: String,
    },
    /// Fetching failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The archive is none, or not a good one.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The store has a problem.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine has a problem.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The registry, or the engine about it.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// What `docker login` left.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The registry has something else under that name.
    #[error("{reference} is {digest} in its registry, not sha256:{wanted} as --sha256 says")]
    WrongManifest {
        /// What was asked for.
        reference: String,
        /// What it was to be.
        wanted: String,
        /// What it is.
        digest: Digest,
    },
    /// systemd or a database has a problem.
    #[error(transparent)]
    Switch(#[from] SonicError),
    /// The text of `--args` cannot be taken.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// The limits do not fit.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// An image that SONiC's own tool manages.
    #[error("{0} is a SONiC package: install it with: sonic-package-manager install --from-tarball FILE")]
    SonicPackage(String),
    /// An image whose container would pass for a pod.
    #[error(
        "the image has the label {0}, by which its container would pass for a pod of Kubernetes: build it without"
    )]
    PodLabel(String),
    /// The archive has not one image.
    #[error("the archive has {count} images, one is needed: {names}; save one alone with: docker save")]
    NotOneImage {
        /// How many there are.
        count: usize,
        /// Which.
        names: String,
    },
    /// Too little room.
    #[error("{what} needs {needed}, but {} has {free} free: make room, or see: tpcm prune", path.display())]
    NoSpace {
        /// For what.
        what: String,
        /// How much.
        needed: String,
        /// How much there is.
        free: String,
        /// Where.
        path: PathBuf,
    },
    /// Its image has as many layers as an image can have.
    #[error(
        "{0} has as many layers as an image can have, one for each move to another SONiC image, and cannot be saved: begin \
         anew with: tpcm upgrade {0}, which keeps its volume"
    )]
    NoLayersLeft(TpcName),
    /// The TPC did not come up, or not for long.
    #[error("{name} did not stay up: {why}")]
    NotUp {
        /// Which.
        name: TpcName,
        /// What happened.
        why: String,
    },
    /// A hook failed.
    #[error("hook {hook} of {name} {why}")]
    Hook {
        /// Which TPC.
        name: TpcName,
        /// Which hook.
        hook: &'static str,
        /// What happened, with the end of what it said.
        why: String,
    },
    /// `backup/data.tar.gz` is broken.
    #[error("{} is no whole gzip'ed tar archive: {why}; mend hook/pre.sh, or upgrade with --skip_data", path.display())]
    BrokenData {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no version before.
    #[error("{0} has no version before the present one to go back to")]
    NothingBefore(TpcName),
    /// A person is needed.
    #[error(
        "{name} is inconsistent: {operation} failed ({first}), and putting the old state back failed too ({second}); {hint}"
    )]
    Inconsistent {
        /// Which TPC.
        name: TpcName,
        /// In which operation.
        operation: Operation,
        /// What failed first.
        first: String,
        /// What failed then.
        second: String,
        /// What to do.
        hint: String,
    },
    /// It can only go forward, and did not.
    #[error(
        "{operation} of {name} is decided but not finished ({step} failed: {cause}); finish it with: tpcm recover"
    )]
    Unfinished {
        /// Which TPC.
        name: TpcName,
        /// Which operation.
        operation: Operation,
        /// At which step.
        step: Step,
        /// Why.
        cause: String,
    },
    /// Operations that were cut short can be neither finished nor undone now.
    #[error("{0}")]
    Stuck(String),
    /// A signal came before it was decided.
    #[error("stopped by {}: everything is as it was before", signal_name(*.0))]
    Interrupted(i32),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of ours says nothing that can be used.
    #[error("{} is damaged ({why}): {hint}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// The way out.
        hint: &'static str,
    },
    /// Something in a volume that a container can write leads elsewhere.
    #[error("{} is no plain file or directory: a container may have put it there; remove it and try again", .0.display())]
    Planted(PathBuf),
    /// A step failed because a test wanted it to.
    #[error("fail point {0}")]
    FailPoint(String),
}

impl OpsError {
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

fn signal_name(number: i32) -> String {
    match number {
        1 => "SIGHUP".to_owned(),
        2 => "SIGINT".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}
