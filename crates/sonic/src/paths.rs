//! Where a switch keeps the files that we read. What is in them is the business of the modules that read them.

use std::path::{Path, PathBuf};

/// The directories of one switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Redis sockets and `sonic-db/database_config.json`.
    pub redis_dir: PathBuf,
    /// Configuration of this SONiC image.
    pub etc_sonic: PathBuf,
    /// Facts about hardware, by platform.
    pub devices: PathBuf,
    /// What the build of this SONiC image left for its scripts.
    pub templates: PathBuf,
    /// The partition that all SONiC images of the switch share.
    pub host: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Paths {
    /// The real switch, or the one below the directory that the environment variable `SWITCHYARD_ROOT` names.
    ///
    /// That is for tests and trials. Sockets are taken from the database configuration as they stand there.
    pub fn from_env() -> Self {
        std::env::var_os("SWITCHYARD_ROOT")
            .filter(|root| !root.is_empty())
            .map_or_else(Self::default, |root| Self::below(Path::new(&root)))
    }

    /// The directories of a switch whose root is here.
    pub fn below(root: &Path) -> Self {
        Self {
            redis_dir: root.join("var/run/redis"),
            etc_sonic: root.join("etc/sonic"),
            devices: root.join("usr/share/sonic/device"),
            templates: root.join("usr/share/sonic/templates"),
            host: root.join("host"),
        }
    }

    /// The file that says where the host's databases are.
    pub fn database_config(&self) -> PathBuf {
        self.redis_dir.join("sonic-db/database_config.json")
    }

    /// The file that says where the namespaces' databases are; there only if there is more than one ASIC or DPU.
    pub fn database_global(&self) -> PathBuf {
        self.redis_dir.join("sonic-db/database_global.json")
    }
}
