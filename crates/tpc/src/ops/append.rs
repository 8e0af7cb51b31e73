//! A tree into a tar, while containers may be writing in it: each entry is as long as its header says whatever becomes of
//! the file, and no link is followed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tar::{EntryType, Header};

use super::tree::{self, Directory, open_file, there};

/// An attribute travels in an extended header as bsdtar writes it, in base64: most tars understand that.
pub(super) const ATTRIBUTE: &str = "LIBARCHIVE.xattr.";

/// A tar that is being written.
pub(super) struct Appender<W: Write> {
    tar: tar::Builder<W>,
    /// By which path a file with several names is in the tar already.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Appender<W> {
    pub(super) fn new(out: W) -> Self {
        Self { tar: tar::Builder::new(out), links: HashMap::new() }
    }

    /// Appends what is at this path below the root, if there is anything.
    pub(super) fn append(&mut self, root: &Path, path: &Path) -> io::Result<()> {
        let above = root.join(path.parent().unwrap_or(Path::new("")));
        let Some(directory) = there(Directory::open(&above))? else { return Ok(()) };
        self.entry(&directory, path.file_name().unwrap_or_default(), path)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.tar.into_inner()
    }

    fn entry(&mut self, directory: &Directory, name: &OsStr, path: &Path) -> io::Result<()> {
        let source = directory.at(name);
        let Some(metadata) = there(fs::symlink_metadata(&source))? else { return Ok(()) };
        let kind = metadata.file_type();
        if kind.is_dir() {
            let Some(inner) = there(directory.enter(name))? else { return Ok(()) };
            return self.directory(&inner, path);
        }
        if let Some(first) = self.links.get(&(metadata.dev(), metadata.ino())) {
            let mut header = header(&metadata, EntryType::Link);
            return self.tar.append_link(&mut header, path, first);
        }
        if kind.is_file() {
            let Some((file, metadata)) = open_file(&source)? else { return Ok(()) };
            self.attributes(&source)?;
            self.file(file, &metadata, path)?;
        } else if kind.is_symlink() {
            let Some(leads) = tree::leads(&source)? else { return Ok(()) };
            self.tar.append_link(&mut header(&metadata, EntryType::Symlink), path, leads)?;
        } else if !kind.is_socket() {
            // A socket is made anew by whoever listens at it; the others are made by hand.
            tracing::warn!("{} is a device or a pipe: it is not exported", path.display());
            return Ok(());
        }
        if metadata.nlink() > 1 && !kind.is_socket() {
            self.links.insert((metadata.dev(), metadata.ino()), path.to_owned());
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Directory, path: &Path) -> io::Result<()> {
        self.attributes(&directory.at("."))?;
        let mut header = header(&directory.metadata()?, EntryType::Directory);
        self.tar.append_data(&mut header, path, io::empty())?;
        for name in directory.names()? {
            self.entry(directory, &name, &path.join(&name))?;
        }
        Ok(())
    }

    /// What is written behind the end that the file had is left out, what is cut off before it becomes zeros.
    fn file(&mut self, file: File, metadata: &Metadata, path: &Path) -> io::Result<()> {
        let mut header = header(metadata, EntryType::Regular);
        header.set_size(metadata.len());
        let exactly = file.take(metadata.len()).chain(io::repeat(0)).take(metadata.len());
        self.tar.append_data(&mut header, path, exactly)
    }

    fn attributes(&mut self, source: &Path) -> io::Result<()> {
        let attributes = there(tree::attributes(source))?.unwrap_or_default();
        // A header can say only names that are words.
        let named = attributes.iter().filter_map(|(name, value)| {
            let name = str::from_utf8(name).ok().filter(|name| !name.contains(['=', '\n']))?;
            Some((format!("{ATTRIBUTE}{name}"), STANDARD_NO_PAD.encode(value)))
        });
        let named: Vec<_> = named.collect();
        let named = named.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        self.tar.append_pax_extensions(named)
    }
}

fn header(metadata: &Metadata, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(metadata);
    header.set_entry_type(kind);
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    fn packed(root: &Path) -> Vec<u8> {
        let mut appender = Appender::new(Vec::new());
        appender.append(root, Path::new("volume")).unwrap();
        appender.finish().unwrap()
    }

    fn unpacked(archive: &[u8]) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        tar::Archive::new(archive).unpack(to.path()).unwrap();
        to
    }

    #[test]
    fn what_grows_vanishes_or_listens_meanwhile_does_not_break_the_archive() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("after"), "whole").unwrap();
        fs::write(volume.join("log"), "").unwrap();
        let _listener = UnixListener::bind(volume.join("socket")).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut log = File::options().append(true).open(volume.join("log")).unwrap();
                while !over.load(Relaxed) {
                    log.write_all(&[b'x'; 700]).unwrap();
                    fs::write(volume.join("comes"), "and").unwrap();
                    fs::remove_file(volume.join("comes")).unwrap();
                }
            });
            for _ in 0..50 {
                let archive = std::panic::catch_unwind(|| unpacked(&packed(root.path())));
                over.store(archive.is_err(), Relaxed);
                let read = fs::read_to_string(archive.unwrap().path().join("volume/after"));
                over.store(read.is_err(), Relaxed);
                assert_eq!(read.unwrap(), "whole");
            }
            over.store(true, Relaxed);
        });
    }

    #[test]
    fn a_file_that_became_shorter_is_as_long_as_its_header_says() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "long").unwrap();
        let (file, metadata) = open_file(&path).unwrap().unwrap();
        fs::write(&path, "l").unwrap();
        let mut appender = Appender::new(Vec::new());
        appender.file(file, &metadata, Path::new("file")).unwrap();
        let to = unpacked(&appender.finish().unwrap());
        assert_eq!(fs::read(to.path().join("file")).unwrap(), b"l\0\0\0");
    }

    #[test]
    fn links_are_carried_as_links_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("one"), "content").unwrap();
        fs::hard_link(volume.join("one"), volume.join("two")).unwrap();
        symlink("/etc/shadow", volume.join("link")).unwrap();
        let to = unpacked(&packed(root.path()));
        let at = |name: &str| to.path().join("volume").join(name);
        assert_eq!(fs::metadata(at("one")).unwrap().ino(), fs::metadata(at("two")).unwrap().ino());
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("/etc/shadow"));
        fs::remove_dir_all(&volume).unwrap();
        symlink("/etc", &volume).unwrap();
        let to = unpacked(&packed(root.path()));
        assert!(to.path().join("volume").is_symlink());
    }
}
