//! A file on local media: read where it is, opened for reading only, never moved.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::digest::{Context, SHA256};
use rustix::fs::OFlags;

use super::{FetchError, Fetched, Progress, Sha256};

/// Looks whether it can be read, and reads all of it only if its digest is to be checked.
pub(super) fn check(
    path: &Path,
    wanted: Option<Sha256>,
    progress: &mut dyn Progress,
) -> Result<Fetched, FetchError> {
    let bad = |why: String| FetchError::Media { path: path.to_owned(), why };
    // A named pipe would else be waited for.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| bad(told(&error)))?;
    let about = file.metadata().map_err(|error| bad(told(&error)))?;
    if about.is_dir() {
        // Whether it is an OCI layout is seen by whoever reads it.
        return match wanted {
            None => Ok(Fetched { path: path.to_owned(), temporary: false, size: None, sha256: None }),
            Some(_) => Err(bad(
                "this is a directory, which has no sum to compare with --sha256: leave that out, or pack it with: \
                 tar -C <directory> -cf <file> ."
                    .to_owned(),
            )),
        };
    }
    if !about.is_file() {
        return Err(bad("this is neither a file nor a link to one".to_owned()));
    }
    let mut fetched =
        Fetched { path: path.to_owned(), temporary: false, size: Some(about.len()), sha256: None };
    if let Some(wanted) = wanted {
        progress.total(Some(about.len()));
        let found = hash(file, progress).map_err(|error| bad(told(&error)))?;
        if found != wanted {
            return Err(FetchError::DigestMismatch { wanted: wanted.to_string(), found: found.to_string() });
        }
        fetched.sha256 = Some(found);
    }
    Ok(fetched)
}

fn hash(mut file: File, progress: &mut dyn Progress) -> io::Result<Sha256> {
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256::of(&hash.finish())),
            count => {
                hash.update(&buffer[..count]);
                progress.advance(count as u64);
            }
        }
    }
}

fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; is the medium mounted?".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read by this user".to_owned(),
        _ => format!("it cannot be read ({error}); is the medium still there?"),
    }
}
