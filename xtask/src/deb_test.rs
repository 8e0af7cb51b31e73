//! `cargo xtask deb-test`: what the package does to a switch, and that nothing of it stays.
//!
//! Each story is told in an empty Debian under `target/deb-test`, with real dpkg, once with a `container` of SONiC's and
//! once without. A story ends with the package purged and the file tree as it was before; the next one goes on there.
//! The models are checked by yanglint against small stand-ins of SONiC's.

mod root;
mod stories;
mod yang;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use switchyard_lab::command::{ok, step};

use crate::deb;
use root::Root;

/// The version that stories begin with. The packages are repacked in any case, without compression: that is quicker.
const PLAIN: &str = "1";

/// Both packages, and what is made of them to make dpkg stumble.
struct Packages {
    /// The one with Kubernetes support, at the path it has inside the root.
    plain: String,
    /// The same with a higher version.
    newer: String,
    /// A still higher version whose installation refuses before anything is unpacked.
    refusing: String,
    /// A still higher version whose configuration fails.
    failing: String,
    /// Cut off in the middle of its files.
    torn: String,
    standalone: String,
    /// Somebody else's package with a `/usr/bin/system`.
    rival: String,
    /// Somebody else's package with a `/usr/local/bin/container`.
    second: String,
}

/// What can be chosen.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Try these packages instead of building them: the one with Kubernetes support and the one without
    #[arg(num_args = 2, value_names = ["WITH", "WITHOUT"])]
    packages: Vec<PathBuf>,
}

/// The test as a command.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    match arguments.packages.as_slice() {
        [with, without] => try_out(&[with.clone(), without.clone()]),
        _ => run(),
    }
}

/// Builds both packages and runs every story; the first that goes wrong is the error.
pub(crate) fn run() -> Result<()> {
    try_out(&[deb::build(true)?, deb::build(false)?])
}

fn try_out(packages: &[PathBuf; 2]) -> Result<()> {
    let packaging = deb::workspace().join("packaging");
    yang::check(&packaging)?;
    let root = Root::prepare()?;
    let packages = step("making packages that fail", || Packages::make(&root, packages))?;
    for original in [true, false] {
        root.set_original(original)?;
        for story in stories::ALL {
            let with = if original { "with" } else { "without" };
            step(&format!("{} ({with} an original)", story.name), || {
                let before = root.tree()?;
                (story.tell)(&root, &packages, original)?;
                root.check_same(&before)
            })?;
        }
    }
    Ok(())
}

impl Packages {
    fn make(root: &Root, [plain, standalone]: &[PathBuf; 2]) -> Result<Self> {
        let made = Workshop { root, directory: root.path("/packages") };
        fs::create_dir_all(&made.directory)?;
        Ok(Self {
            plain: made.changed(plain, PLAIN, "", "")?,
            standalone: made.changed(standalone, PLAIN, "", "")?,
            newer: made.changed(plain, "9.1", "", "")?,
            refusing: made.changed(plain, "9.2", "preinst", "exit 1")?,
            failing: made.changed(plain, "9.3", "postinst", "exit 1")?,
            torn: made.torn(plain)?,
            rival: made.foreign("rival", "usr/bin/system")?,
            second: made.foreign("second", "usr/local/bin/container")?,
        })
    }
}

/// Where packages are taken apart and put together again.
struct Workshop<'a> {
    root: &'a Root,
    directory: PathBuf,
}

impl Workshop<'_> {
    /// The package under another version; the maintainer script, if one is named, is replaced.
    fn changed(&self, package: &Path, version: &str, script: &str, body: &str) -> Result<String> {
        let tree = self.directory.join("tree");
        ok("dpkg-deb", &["-R", &text(package), &text(&tree)])?;
        let control = tree.join("DEBIAN/control");
        let old = fs::read_to_string(&control)?;
        let lines = old.lines().map(|line| {
            if line.starts_with("Version:") { format!("Version: {version}") } else { line.to_owned() }
        });
        fs::write(&control, lines.collect::<Vec<_>>().join("\n") + "\n")?;
        if !script.is_empty() {
            let script = tree.join("DEBIAN").join(script);
            fs::write(&script, format!("#!/bin/sh\n{body}\n"))?;
            ok("chmod", &["755", &text(&script)])?;
        }
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        self.build(&tree, &format!("{version}_{name}"))
    }

    fn torn(&self, package: &Path) -> Result<String> {
        let bytes = fs::read(package)?;
        ensure!(bytes.len() > 100_000, "{} is too small to be a package", package.display());
        fs::write(self.directory.join("torn.deb"), &bytes[..bytes.len() / 2])?;
        Ok("/packages/torn.deb".to_owned())
    }

    /// A package of somebody else's with one file.
    fn foreign(&self, name: &str, file: &str) -> Result<String> {
        let tree = self.directory.join("tree");
        let file = tree.join(file);
        fs::create_dir_all(tree.join("DEBIAN"))?;
        fs::create_dir_all(file.parent().context("a file at the root")?)?;
        fs::write(&file, format!("#!/bin/sh\necho {name}\n"))?;
        ok("chmod", &["755", &text(&file)])?;
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: {name}\nDescription: {name}\n"
        );
        fs::write(tree.join("DEBIAN/control"), control)?;
        self.build(&tree, &format!("{name}.deb"))
    }

    fn build(&self, tree: &Path, name: &str) -> Result<String> {
        ok(
            "dpkg-deb",
            &["--root-owner-group", "-Znone", "-b", &text(tree), &text(&self.directory.join(name))],
        )?;
        fs::remove_dir_all(tree).with_context(|| format!("in {}", self.root.path("/").display()))?;
        Ok(format!("/packages/{name}"))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
