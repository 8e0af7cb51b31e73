//! Names a build by what goes into it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// A hash over texts, files and trees. It guards against stale caches, not against anybody, so the standard library's
/// hasher is good enough; a new compiler that hashes differently costs one rebuild.
pub(crate) struct ContentHash(DefaultHasher);

impl ContentHash {
    pub(crate) fn new() -> ContentHash {
        ContentHash(DefaultHasher::new())
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut ContentHash {
        text.hash(&mut self.0);
        self
    }

    pub(crate) fn file(&mut self, path: &Path) -> Result<&mut ContentHash> {
        fs::read(path).with_context(|| format!("cannot read {}", path.display()))?.hash(&mut self.0);
        Ok(self)
    }

    /// Names, modes, links and content of everything below `path`.
    pub(crate) fn tree(&mut self, path: &Path) -> Result<&mut ContentHash> {
        let list = fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        let mut entries = list.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, metadata) = (entry.path(), entry.metadata()?);
            entry.file_name().hash(&mut self.0);
            metadata.permissions().mode().hash(&mut self.0);
            if metadata.is_dir() {
                self.tree(&path)?;
            } else if metadata.is_symlink() {
                fs::read_link(&path)?.hash(&mut self.0);
            } else {
                self.file(&path)?;
            }
        }
        Ok(self)
    }

    pub(crate) fn finish(&self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(path: &Path) -> String {
        ContentHash::new().tree(path).unwrap().finish()
    }

    #[test]
    fn sees_every_kind_of_change() {
        let tree = std::env::temp_dir().join(format!("switchyard-hash-{}", std::process::id()));
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/file"), "one").unwrap();
        let first = hash(&tree);
        assert_eq!(first, hash(&tree), "the same tree has the same name");

        fs::write(tree.join("etc/file"), "two").unwrap();
        let second = hash(&tree);
        assert_ne!(first, second, "content");
        fs::set_permissions(tree.join("etc/file"), fs::Permissions::from_mode(0o755)).unwrap();
        let third = hash(&tree);
        assert_ne!(second, third, "mode");
        fs::rename(tree.join("etc/file"), tree.join("etc/other")).unwrap();
        assert_ne!(third, hash(&tree), "name");
        fs::remove_dir_all(&tree).unwrap();
    }
}
