//! Builds Kubernetes from its Go modules: the control plane of today and the kubelet that SONiC ships.
//!
//! `lab/kubernetes/` has a small Go module for each version, whose `tool` directives name the programs. What was built
//! stays in the lab's cache under the hash of `go.mod` and `go.sum`, so it is built once for a version. A cold build of
//! all three takes some ten minutes of both cores and runs at the lowest priority: scenarios may be telling meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::{self, step};
use crate::image::hash::ContentHash;
use crate::machine::{Machine, workspace};

/// A Go module below `lab/kubernetes` and what it says of itself when it is asked for its version.
struct Module {
    directory: &'static str,
    what: &'static str,
    /// Kubernetes' version numbers, without which kubectl cannot read its own; none for others.
    version: Option<Version>,
}

struct Version {
    full: &'static str,
    major: &'static str,
    minor: &'static str,
}

const ETCD: Module = Module { directory: "etcd", what: "etcd", version: None };
const CONTROL_PLANE: Module = Module {
    directory: "control-plane",
    what: "the Kubernetes control plane (minutes)",
    version: Some(Version { full: "v1.34.4", major: "1", minor: "34" }),
};
const KUBELET: Module = Module {
    directory: "kubelet",
    what: "SONiC's kubelet (minutes)",
    version: Some(Version { full: "v1.22.2", major: "1", minor: "22" }),
};

/// Where the programs of the machine's side are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    etcd: PathBuf,
    control_plane: PathBuf,
}

impl Programs {
    /// Builds what is not in the cache.
    pub(super) fn prepare() -> Result<Programs> {
        let _lock = Machine::lock_file("kubernetes.lock")?;
        Ok(Programs { etcd: ETCD.built()?, control_plane: CONTROL_PLANE.built()? })
    }

    /// The programs of a cluster that is already there; nothing is built.
    pub(super) fn find() -> Result<Programs> {
        Ok(Programs { etcd: ETCD.cached()?, control_plane: CONTROL_PLANE.cached()? })
    }

    /// The path of one program; etcd's tool is called by the last word of its module's path.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        if program == "etcd" { self.etcd.join("server") } else { self.control_plane.join(program) }
    }
}

/// The kubelet of a switch, built if it is not in the cache.
pub fn kubelet() -> Result<PathBuf> {
    let _lock = Machine::lock_file("kubernetes.lock")?;
    Ok(KUBELET.built()?.join("kubelet"))
}

impl Module {
    fn source(&self) -> PathBuf {
        workspace().join("lab/kubernetes").join(self.directory)
    }

    /// Where the programs of exactly these sources are, or would be.
    fn place(&self) -> Result<PathBuf> {
        let source = self.source();
        let id = ContentHash::new()
            .file(&source.join("go.mod"))?
            .file(&source.join("go.sum"))?
            .text(&self.linker_flags())
            .finish();
        Ok(Machine::path("cache/kubernetes").join(format!("{}-{id}", self.directory)))
    }

    fn cached(&self) -> Result<PathBuf> {
        let place = self.place()?;
        ensure!(place.exists(), "{} was not built yet; `cargo xtask lab up --cluster`", self.directory);
        Ok(place)
    }

    fn built(&self) -> Result<PathBuf> {
        let place = self.place()?;
        if !place.exists() {
            step(&format!("building {}", self.what), || self.build(&place))?;
            self.remove_others(&place)?;
        }
        Ok(place)
    }

    /// Builds beside the place and renames, so that a build that was killed leaves nothing that looks whole.
    fn build(&self, place: &Path) -> Result<()> {
        let draft = place.with_extension("draft");
        fs::create_dir_all(&draft).with_context(|| format!("cannot make {}", draft.display()))?;
        let mut go = Command::new("nice");
        go.args(["-n", "19", "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly"])
            .args(["-ldflags", &self.linker_flags(), "-o"])
            // The slash makes it a directory to go, whatever the number of programs.
            .arg(format!("{}/", draft.display()))
            .arg("tool")
            .current_dir(self.source())
            // Static, as the kubelet runs in a file system other than this machine's.
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .stdin(Stdio::null());
        let output = command::finish("go (1.24 or newer, which Debian 12 does not have)", &mut go)?;
        ensure!(
            output.success(),
            "{} does not build: {}",
            self.source().display(),
            command::last_words(&output)
        );
        fs::rename(&draft, place).with_context(|| format!("cannot install {}", place.display()))
    }

    /// Programs of earlier sources take a quarter of a gigabyte. One that still runs keeps its inode.
    fn remove_others(&self, current: &Path) -> Result<()> {
        let prefix = format!("{}-", self.directory);
        for entry in fs::read_dir(Machine::path("cache/kubernetes"))? {
            let entry = entry?;
            if entry.path() != current && entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn linker_flags(&self) -> String {
        let Some(version) = &self.version else { return "-s -w".to_owned() };
        let package = "k8s.io/component-base/version";
        format!(
            "-s -w -X {package}.gitVersion={} -X {package}.gitMajor={} -X {package}.gitMinor={}",
            version.full, version.major, version.minor
        )
    }
}
