//! A virtual machine, emulated, for what containers cannot show on this machine's kernel: file systems with project
//! quotas.
//!
//! Debian's kernel for clouds, taken out of its package and not installed, with an initramfs of busybox and one static
//! test program as all that it runs. Emulation is some ten times slower than a container.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::{self, ok, step};
use crate::machine::{Machine, install_packages, workspace};

const TOOLS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("depmod", "kmod"),
    ("busybox", "busybox-static"),
    ("mkfs.xfs", "xfsprogs"),
];

/// The package that depends on the kernel's own.
const KERNEL: &str = "linux-image-cloud-amd64";

/// What is not built into that kernel.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "quota_v2", "overlay", "xfs"];

/// From the first instruction to the end of the tests, on a machine that compiles at the same time.
const SECONDS_MAX: &str = "600";

const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in MODULES; do /bin/busybox modprobe $module; done
/bin/busybox mount -t ext4 -o prjquota /dev/vda /ext4
/bin/busybox mount -t xfs -o prjquota /dev/vdb /xfs
for root in /ext4 /xfs; do
    QUOTA_ROOT=$root /enforced --test-threads=1
    echo \"end of $root: $?\"
done
/bin/busybox poweroff -f
";

/// Runs the tests of `switchyard-quota` on ext4 and XFS; gives how many passed.
pub fn project_quotas() -> Result<usize> {
    let _lock = Machine::lock_file("vm.lock")?;
    install_packages(&TOOLS)?;
    let kernel = Kernel::get()?;
    let program = step("building the test of project quotas", test_program)?;
    let directory = Machine::path("build/vm");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let disks = [
        ("ext4", ["mke2fs", "-q", "-t", "ext4", "-O", "project,quota"].as_slice()),
        ("xfs", &["mkfs.xfs", "-q"]),
    ]
    .into_iter()
    .map(|(name, make)| disk(&directory.join(name), make))
    .collect::<Result<Vec<_>>>()?;
    let initramfs = kernel.initramfs(&directory, &program)?;
    let said = step("running it in a virtual machine", || boot(&kernel.image, &initramfs, &disks))?;
    fs::remove_dir_all(&directory)?;
    for root in ["/ext4", "/xfs"] {
        ensure!(
            said.contains(&format!("end of {root}: 0")),
            "the test of project quotas on {root} failed:\n{said}"
        );
    }
    Ok(said.lines().filter(|line| line.starts_with("test ") && line.trim_end().ends_with("... ok")).count())
}

/// A kernel and its modules.
struct Kernel {
    image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    /// From the cache, or from Debian.
    fn get() -> Result<Kernel> {
        let cache = Machine::path("cache/kernel");
        if !cache.exists() {
            step("fetching a kernel", || Kernel::fetch(&cache))?;
        }
        let image = only_one(&cache.join("boot"), "vmlinuz-")?;
        let modules = only_one(&cache.join("lib/modules"), "")?;
        Ok(Kernel { image, modules })
    }

    fn fetch(cache: &Path) -> Result<()> {
        let draft = cache.with_extension("new");
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        fs::create_dir_all(&draft)?;
        ok("apt-get", &["--quiet", "update"])?;
        let depends = ok("apt-cache", &["depends", KERNEL])?;
        let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        let package = package.with_context(|| format!("{KERNEL} depends on no kernel"))?;
        let mut download = Command::new("apt-get");
        download.current_dir(&draft).args(["--quiet", "download", package]);
        let output = command::finish("apt-get", &mut download)?;
        ensure!(output.success(), "cannot download {package}: {}", command::last_words(&output));
        let archive = only_one(&draft, package)?;
        ok("dpkg-deb", &["--extract".as_ref(), archive.as_os_str(), draft.as_os_str()])?;
        fs::remove_file(&archive)?;
        let version = only_one(&draft.join("lib/modules"), "")?;
        let version = version.file_name().context("the kernel has no version")?;
        ok("depmod", &["--basedir".as_ref(), draft.as_os_str(), version])?;
        Ok(fs::rename(&draft, cache)?)
    }

    /// Busybox, the modules, the program, and what is done with them.
    fn initramfs(&self, directory: &Path, program: &Path) -> Result<PathBuf> {
        let root = directory.join("root");
        for below in ["bin", "proc", "dev", "ext4", "xfs"] {
            fs::create_dir_all(root.join(below))?;
        }
        let init = INIT.replace("MODULES", &MODULES.join(" "));
        fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        fs::copy(program, root.join("enforced"))?;
        fs::write(root.join("init"), init)?;
        ok("chmod", &["755".as_ref(), root.join("init").as_os_str()])?;
        let to = root.join("lib/modules").join(self.modules.file_name().unwrap_or_default());
        for module in self.needed()?.into_iter().chain(["modules.dep".to_owned()]) {
            let to = to.join(&module);
            fs::create_dir_all(to.parent().unwrap_or(&root))?;
            fs::copy(self.modules.join(&module), to)
                .with_context(|| format!("the kernel has no {module}"))?;
        }
        let packed = directory.join("initramfs");
        // Names are those of our own files, none has a line break.
        let names = ok("find", &[root.as_os_str(), "-printf".as_ref(), "%P\\n".as_ref()])?;
        let mut cpio = Command::new("busybox")
            .args(["cpio", "-o", "-H", "newc"])
            .current_dir(&root)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&packed)?)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run busybox")?;
        cpio.stdin.take().context("cpio takes no input")?.write_all(names.as_bytes())?;
        ensure!(cpio.wait()?.success(), "cannot pack {}", root.display());
        Ok(packed)
    }

    /// The files of the modules and of those that they need, as modules.dep has them.
    fn needed(&self) -> Result<BTreeSet<String>> {
        let text =
            fs::read_to_string(self.modules.join("modules.dep")).context("the kernel's modules.dep")?;
        let named = |path: &str, module: &str| {
            path.ends_with(&format!("/{}.ko", module.replace('_', "-")))
                || path.ends_with(&format!("/{module}.ko"))
        };
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let wanted = lines.filter(|(path, _)| MODULES.iter().any(|module| named(path, module)));
        Ok(wanted
            .flat_map(|(path, needs)| needs.split_whitespace().chain([path]))
            .map(str::to_owned)
            .collect())
    }
}

/// XFS takes no less than this.
fn disk(file: &Path, make: &[&str]) -> Result<PathBuf> {
    const SIZE: u64 = 400 << 20;
    fs::File::create(file)?.set_len(SIZE)?;
    let file_text = file.to_string_lossy();
    ok(make[0], &[&make[1..], &[&*file_text]].concat())?;
    Ok(file.to_owned())
}

/// The test of `switchyard-quota`, in one static file.
fn test_program() -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(workspace())
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .args(["test", "--quiet", "--package", "switchyard-quota", "--test", "enforced", "--no-run"])
        .args(["--target", TARGET, "--target-dir", "target/lab", "--message-format", "json"]);
    let output = command::finish("cargo", &mut cargo)?;
    ensure!(output.success(), "the test of project quotas does not build:\n{}", output.stderr);
    let messages =
        output.stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program =
        messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    program.context("cargo built no program")
}

/// Runs the machine until it switches itself off; what it said on its console.
fn boot(kernel: &Path, initramfs: &Path, disks: &[PathBuf]) -> Result<String> {
    let mut qemu = Command::new("timeout");
    qemu.args([SECONDS_MAX, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512"])
        .args([
            "-nodefaults",
            "-no-reboot",
            "-nographic",
            "-serial",
            "stdio",
            "-append",
            "console=ttyS0 quiet panic=-1",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null());
    for disk in disks {
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio", disk.display()));
    }
    let output = command::finish("qemu", &mut qemu)?;
    ensure!(
        output.success(),
        "the virtual machine ended with {}: {}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    Ok(output.stdout)
}

fn only_one(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let found = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut found = found
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path());
    found.next().with_context(|| format!("{} has no {prefix}", directory.display()))
}
