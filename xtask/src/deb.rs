//! `cargo xtask deb`: the static binary and the Debian package around it.
//!
//! Two variants, `switchyard` and `switchyard-standalone` (built without Kubernetes support), which take each other's
//! place. The package is the same, byte for byte, whenever it is built from the same commit on the same machine. What
//! its maintainer scripts do is in `packaging/debian`; that they do it is shown by `deb_test`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use switchyard_lab::command::{ok, step};

/// The shipped binary is static: a switch of any Debian release runs it, and an image needs nothing else.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const STATIC: &str = "-C target-feature=+crt-static";

/// One of the two packages.
pub(crate) struct Variant {
    pub(crate) package: &'static str,
    /// The package whose place it takes.
    other: &'static str,
    summary: &'static str,
    text: &'static str,
    cargo: &'static [&'static str],
    kubernetes: bool,
}

const WITH_KUBERNETES: Variant = Variant {
    package: "switchyard",
    other: "switchyard-standalone",
    summary: "decides who runs each container of a SONiC switch",
    text: "This variant can hand features over to Kubernetes.",
    cargo: &[],
    kubernetes: true,
};

const STANDALONE: Variant = Variant {
    package: "switchyard-standalone",
    other: "switchyard",
    summary: "decides who runs each container of a SONiC switch (without Kubernetes)",
    text: "This variant was built without Kubernetes support.",
    cargo: &["--no-default-features"],
    kubernetes: false,
};

/// Builds the package and gives its path. Cargo builds only what changed.
pub(crate) fn build(kubernetes: bool) -> Result<PathBuf> {
    let variant = if kubernetes { &WITH_KUBERNETES } else { &STANDALONE };
    let lock = workspace().join("target/deb");
    fs::create_dir_all(&lock)?;
    // Both variants leave their program under one name: nobody may build the other one before this one is packed.
    let lock = File::open(&lock)?;
    lock.lock().context("cannot lock target/deb")?;
    let binary = step(&format!("building the static binary of {}", variant.package), || compile(variant))?;
    step(&format!("packing {}", variant.package), || pack(variant, &binary))
}

/// The top of the source tree.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

fn compile(variant: &Variant) -> Result<PathBuf> {
    // Whole-program optimisation takes minutes; another profile is good enough to try things with.
    let profile = std::env::var("SWITCHYARD_PROFILE").unwrap_or_else(|_| "dist".to_owned());
    // A directory of its own, since other flags than the ordinary build's would throw that one's cache away.
    let target = workspace().join("target/static");
    let status = Command::new(env!("CARGO"))
        .current_dir(workspace())
        .env("RUSTFLAGS", STATIC)
        .args(["build", "--quiet", "--package", "switchyard", "--bin", "switchyard", "--target", TARGET])
        .args(["--profile", &profile, "--target-dir"])
        .arg(&target)
        .args(variant.cargo)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the static binary of {} does not build, see above", variant.package);
    // Cargo keeps what the profile `dev` makes in a directory of another name.
    let directory = if profile == "dev" { "debug" } else { &profile };
    Ok(target.join(TARGET).join(directory).join("switchyard"))
}

fn pack(variant: &Variant, binary: &Path) -> Result<PathBuf> {
    let tree = Tree::new(workspace().join("target/deb").join(variant.package))?;
    let source = workspace().join("packaging");
    tree.copy(binary, "usr/bin/switchyard", 0o755)?;
    for name in ["system", "tpcm"] {
        symlink("switchyard", tree.path(&format!("usr/bin/{name}"))?)?;
    }
    tree.copy(&source.join("tmpfiles.d/switchyard.conf"), "usr/lib/tmpfiles.d/switchyard.conf", 0o644)?;
    tree.copy(&source.join("techsupport/switchyard"), "usr/share/switchyard/techsupport", 0o755)?;
    tree.copy_all(&source.join("yang"), "usr/share/switchyard/yang")?;
    tree.copy_all(&source.join("click"), "usr/share/switchyard/click")?;
    tree.copy_all(&source.join("klish"), "usr/share/switchyard/klish")?;
    add_tpcm_units(&tree, &source.join("systemd"))?;

    if variant.kubernetes {
        tree.copy(&source.join("systemd/ctrmgrd.service"), "usr/share/switchyard/ctrmgrd.service", 0o644)?;
        tree.copy_all(&source.join("cluster"), "usr/share/switchyard/cluster")?;
        tree.copy_all(&source.join("events"), "usr/share/switchyard/events")?;
    }

    let doc = format!("usr/share/doc/{}", variant.package);
    tree.copy_all(&source.join("examples"), &format!("{doc}/examples"))?;
    tree.copy(&source.join("debian/copyright"), &format!("{doc}/copyright"), 0o644)?;
    tree.copy(&workspace().join("CHANGELOG.md"), &format!("{doc}/changelog"), 0o644)?;
    tree.compress(&format!("{doc}/changelog"))?;
    add_generated_docs(&tree, binary)?;

    let version = env!("CARGO_PKG_VERSION");
    add_control(variant, &tree, version)?;
    let package = workspace().join(format!("target/deb/{}_{version}_amd64.deb", variant.package));
    // Whoever reads the package meanwhile, to install it on a switch, reads a whole one.
    let unfinished = package.with_extension("unfinished");
    let built = Command::new("dpkg-deb")
        .env("SOURCE_DATE_EPOCH", last_commit_time()?)
        .args(["--root-owner-group", "--build"])
        .arg(&tree.root)
        .arg(&unfinished)
        .output()
        .context("cannot run dpkg-deb")?;
    ensure!(built.status.success(), "dpkg-deb: {}", String::from_utf8_lossy(&built.stderr).trim());
    fs::rename(&unfinished, &package)?;
    Ok(package)
}

/// Units of a name that SONiC does not have: they come with the package, wanted as it is.
fn add_tpcm_units(tree: &Tree, source: &Path) -> Result<()> {
    const UNITS: &str = "usr/lib/systemd/system";

    for unit in ["tpcm.service", "tpcm-apply.service", "tpcm-next-boot.path", "tpcm-next-boot.service"] {
        tree.copy(&source.join(unit), &format!("{UNITS}/{unit}"), 0o644)?;
    }
    for (target, wanted) in [
        ("multi-user.target", "tpcm.service"),
        ("multi-user.target", "tpcm-next-boot.path"),
        ("sonic.target", "tpcm-apply.service"),
    ] {
        symlink(format!("../{wanted}"), tree.path(&format!("{UNITS}/{target}.wants/{wanted}"))?)?;
    }
    Ok(())
}

/// Man pages and completions come out of the binary itself, so they cannot say anything else than it does.
fn add_generated_docs(tree: &Tree, binary: &Path) -> Result<()> {
    let docs = tree.root.with_extension("docs");
    remove_tree(&docs)?;
    ok(&binary.to_string_lossy(), &["generate-docs", &docs.to_string_lossy()])?;
    for page in files_in(&docs.join("man"))? {
        let path = format!("usr/share/man/man1/{}", file_name(&page));
        tree.copy(&page, &path, 0o644)?;
        tree.compress(&path)?;
    }
    for completion in files_in(&docs.join("completions"))? {
        let name = file_name(&completion);
        let path = match name.rsplit_once('.') {
            Some((program, "bash")) => format!("usr/share/bash-completion/completions/{program}"),
            Some((_, "fish")) => format!("usr/share/fish/vendor_completions.d/{name}"),
            _ => format!("usr/share/zsh/vendor-completions/{name}"),
        };
        tree.copy(&completion, &path, 0o644)?;
    }
    remove_tree(&docs)
}

fn add_control(variant: &Variant, tree: &Tree, version: &str) -> Result<()> {
    let source = workspace().join("packaging/debian");
    let functions = fs::read_to_string(source.join("functions.sh"))?;
    let size =
        ok("du", &["--summarize", "--apparent-size", "--block-size=1K", &tree.root.to_string_lossy()])?;
    let size = size.split_whitespace().next().unwrap_or_default();
    let fill = |text: String| {
        text.replace("@FUNCTIONS@", functions.trim_end())
            .replace("@PACKAGE@", variant.package)
            .replace("@OTHER@", variant.other)
            .replace("@VERSION@", version)
            .replace("@SIZE@", size)
            .replace("@SUMMARY@", variant.summary)
            .replace("@VARIANT@", variant.text)
    };
    let sums = ok(
        "sh",
        &[
            "-c",
            "cd \"$0\" && find usr -type f -print0 | sort -z | xargs -0 md5sum",
            &tree.root.to_string_lossy(),
        ],
    )?;
    tree.write("DEBIAN/md5sums", &(sums + "\n"), 0o644)?;
    for (name, mode) in [("control", 0o644), ("postinst", 0o755), ("prerm", 0o755), ("postrm", 0o755)] {
        tree.write(&format!("DEBIAN/{name}"), &fill(fs::read_to_string(source.join(name))?), mode)?;
    }
    Ok(())
}

/// The time that every file of the package gets.
fn last_commit_time() -> Result<String> {
    ok("git", &["-C", &workspace().to_string_lossy(), "log", "-1", "--format=%ct"])
}

/// The package's content while it is put together.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn new(root: PathBuf) -> Result<Self> {
        remove_tree(&root)?;
        fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    /// Where a file belongs; its directory is made.
    fn path(&self, path: &str) -> Result<PathBuf> {
        let path = self.root.join(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
            // Whoever builds may have a umask; the package has none.
            for made in directory.ancestors().take_while(|made| made.starts_with(&self.root)) {
                fs::set_permissions(made, Permissions::from_mode(0o755))?;
            }
        }
        Ok(path)
    }

    fn write(&self, path: &str, content: &str, mode: u32) -> Result<()> {
        let path = self.path(path)?;
        fs::write(&path, content)?;
        Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
    }

    fn copy(&self, from: &Path, path: &str, mode: u32) -> Result<()> {
        let path = self.path(path)?;
        fs::copy(from, &path).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
    }

    fn copy_all(&self, from: &Path, path: &str) -> Result<()> {
        for entry in files_in(from)? {
            let to = format!("{path}/{}", file_name(&entry));
            if entry.is_dir() { self.copy_all(&entry, &to)? } else { self.copy(&entry, &to, 0o644)? }
        }
        Ok(())
    }

    /// As Debian wants documentation: without the name and time of the file that was compressed.
    fn compress(&self, path: &str) -> Result<()> {
        ok("gzip", &["-9n", &self.path(path)?.to_string_lossy()]).map(drop)
    }
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn remove_tree(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}
