//! What is at a path below a directory that containers write into, and whether it is what it seems: no component of it is
//! a link.
//!
//! The engine mounts by path, as root of the host, and follows links. What a container planted must not make it mount
//! something else, so every such path is walked here while that container does not run.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::OpsError;

/// Whether there is something at this path below the directory. A link on the way, or at its end, is refused.
pub(super) fn is_there(directory: &Path, below: &Path) -> Result<bool, OpsError> {
    let path = directory.join(below);
    let failed = |error: Errno| OpsError::file("open", &path)(error.into());
    match open_at(open(directory)?, below, OFlags::PATH) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        // A file where a directory is to be is as little what it seems.
        Err(Errno::LOOP | Errno::XDEV | Errno::NOTDIR) => Err(OpsError::Planted(path)),
        Err(error) => Err(failed(error)),
    }
}

/// Opens what is at this path below a directory that is held open. A link on the way, or at its end, is an error.
pub(super) fn open_at(directory: impl AsFd, below: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(directory, below, flags | OFlags::CLOEXEC, Mode::empty(), beneath)
}

/// Makes the directories of this path that are missing. A link on the way, or at its end, is refused.
pub(super) fn make(directory: &Path, below: &Path) -> Result<(), OpsError> {
    if is_there(directory, below)? {
        return Ok(());
    }
    let mut path = directory.to_owned();
    let mut walked = PathBuf::new();
    for part in below {
        path.push(part);
        walked.push(part);
        if !is_there(directory, &walked)? {
            std::fs::create_dir(&path).map_err(OpsError::file("create", &path))?;
        }
    }
    Ok(())
}

/// The directory itself is ours; that its own path has links in it is the machine's affair.
fn open(directory: &Path) -> Result<OwnedFd, OpsError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, directory, flags, Mode::empty())
        .map_err(|error| OpsError::file("open", directory)(error.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_anywhere_in_the_path_is_refused_and_nothing_is_made_through_it() {
        let root = tempfile::tempdir().unwrap();
        let (inside, outside) = (root.path().join("in"), root.path().join("out"));
        std::fs::create_dir_all(inside.join("real")).unwrap();
        std::fs::create_dir_all(outside.join("deep")).unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        symlink("real", inside.join("near")).unwrap();
        std::fs::write(inside.join("file"), "").unwrap();
        for below in ["link", "link/deep", "link/new", "near", "../out", "file/x"] {
            for refused in [is_there(&inside, below.as_ref()).map(drop), make(&inside, below.as_ref())] {
                assert!(matches!(refused, Err(OpsError::Planted(_))), "{below}: {refused:?}");
            }
        }
        assert!(!outside.join("new").exists());
        assert!(!is_there(&inside, "real/new".as_ref()).unwrap());
        make(&inside, "real/new".as_ref()).unwrap();
        assert!(is_there(&inside, "real/new".as_ref()).unwrap());
    }
}
