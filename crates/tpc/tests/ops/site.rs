//! A switch as far as these tests need one: a root, a stand-in for systemd, images in archives, and a look at all that
//! an operation may leave behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use switchyard_core::tpc::{Source, SshOptions, TpcName};
use switchyard_sonic::SonicError;
use switchyard_tpc::fetch::Progress;
use switchyard_tpc::ops::{
    InstallRequest, OpsError, Options, Report, Services, Settings, SourceRequest, Tpcm, UpgradeRequest,
};
use tempfile::TempDir;

/// A switch without SONiC's databases.
pub(crate) struct Site {
    pub(crate) root: PathBuf,
    pub(crate) name: TpcName,
    directory: Option<TempDir>,
}

/// Units that are files, and run what `tpcm run` would.
pub(crate) struct Stand {
    units: PathBuf,
}

impl Stand {
    fn container(unit: &str) -> &str {
        unit.strip_suffix(".service").unwrap()
    }

    /// As jobs of systemd: one after the other, and to its end also if whoever asked for it is killed. Docker finishes a
    /// stop anyway, and a container that is just ending is no more than running to a start.
    fn job(&self, arguments: &[&str]) -> Output {
        let lock = self.units.with_file_name("jobs");
        let command = Command::new("flock").arg(lock).arg("docker").args(arguments).process_group(0).output();
        command.expect("flock is not installed")
    }
}

pub(crate) fn running(container: &str) -> bool {
    let output = run(&["inspect", "--format", "{{.State.Running}}", container]);
    String::from_utf8_lossy(&output.stdout).trim() == "true"
}

impl Services for Stand {
    async fn exists(&self, unit: &str) -> Result<bool, SonicError> {
        Ok(self.units.join(unit).exists())
    }

    async fn is_up(&self, unit: &str) -> Result<bool, SonicError> {
        Ok(running(Self::container(unit)))
    }

    async fn state(&self, unit: &str) -> Result<(String, u64), SonicError> {
        Ok((if running(Self::container(unit)) { "active" } else { "inactive" }.to_owned(), 0))
    }

    async fn enable(&self, unit: &str) -> Result<(), SonicError> {
        assert!(self.units.join(unit).exists(), "a unit without a file is enabled");
        fs::write(self.units.join(format!("{unit}.enabled")), "").unwrap();
        Ok(())
    }

    async fn disable(&self, unit: &str) -> Result<(), SonicError> {
        let _ = fs::remove_file(self.units.join(format!("{unit}.enabled")));
        Ok(())
    }

    async fn reload(&self) -> Result<(), SonicError> {
        Ok(())
    }

    async fn start(&self, unit: &str) -> Result<Result<(), String>, SonicError> {
        let started = self.job(&["start", Self::container(unit)]);
        Ok(if started.status.success() { Ok(()) } else { Err(said(&started)) })
    }

    async fn queue(&self, unit: &str) -> Result<(), SonicError> {
        fs::write(self.units.with_file_name("queued"), unit).unwrap();
        drop(self.job(&["start", Self::container(unit)]));
        Ok(())
    }

    async fn stop(&self, unit: &str) -> Result<(), SonicError> {
        drop(self.job(&["stop", "--time", "5", Self::container(unit)]));
        Ok(())
    }

    async fn wait_up(&self, unit: &str, _: Duration) -> Result<bool, SonicError> {
        self.is_up(unit).await
    }
}

/// Nobody looks on.
pub(crate) struct Nobody;

impl Progress for Nobody {
    fn total(&mut self, _: Option<u64>) {}

    fn advance(&mut self, _: u64) {}

    fn message(&mut self, _: &str) {}
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn run(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().expect("the docker client is not installed")
}

pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}; is a Docker daemon running? cargo xtask test",
        said(&output)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn mount_disk(file: &Path, at: &Path) {
    let mounted = Command::new("mount").args(["-o", "loop"]).args([file, at]).status();
    assert!(mounted.unwrap().success(), "a disk cannot be mounted");
}

/// Names of what was found, and of some of it more than that.
pub(crate) type Everything = BTreeMap<String, String>;

/// What an image does, and what it has in `/tpc`.
#[derive(Clone, Copy)]
pub(crate) struct Image {
    pub(crate) version: &'static str,
    pub(crate) main: &'static str,
    pub(crate) pre: &'static str,
    pub(crate) post: &'static str,
    /// One more label.
    pub(crate) label: &'static str,
}

/// Writes its version into its data, and stays.
const STAYS: &str = "echo $IMAGE_VERSION >> /tpc/data; trap 'exit 0' TERM; while :; do sleep 0.05; done";

pub(crate) const ONE: Image = Image {
    version: "1",
    main: STAYS,
    pre: "mkdir -p /tpc/backup; cd /tpc; tar -czf backup/data.tar.gz data; echo saved",
    post: "true",
    label: "plain=yes",
};

pub(crate) const TWO: Image =
    Image { version: "2", pre: "true", post: "tar -tzf /tpc/backup/data.tar.gz > /tpc/got", ..ONE };

impl Site {
    /// A new one, with a name of its own.
    pub(crate) fn new(what: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        let name = TpcName::parse(&format!("ops-{what}-{}", std::process::id())).unwrap();
        fs::create_dir_all(root.join("tpc/.store")).unwrap();
        fs::create_dir_all(root.join("units")).unwrap();
        fs::create_dir_all(root.join("cgroups")).unwrap();
        let site = Self { root, name, directory: Some(directory) };
        site.wait(1, 30);
        site
    }

    /// From now on a version is watched for so long, and a hook waited for, in seconds.
    pub(crate) fn wait(&self, stays_up: u32, hook_time: u32) {
        let name = &self.name;
        let defaults = format!(
            r#"{{"cgroup": "{name}", "stays_up": {stays_up}, "hook_time": {hook_time}, "limits": {{"cpu": "5%"}}}}"#
        );
        fs::write(self.root.join("tpc/.store/defaults.json"), defaults).unwrap();
    }

    /// One whose containers are on a partition of their own, so small that a test can fill it.
    pub(crate) fn on_a_partition(what: &str, megabytes: u32) -> Self {
        let site = Self::new(what);
        let (root, defaults) = (site.root.join("tpc"), site.root.join("tpc/.store/defaults.json"));
        let text = fs::read_to_string(&defaults).unwrap();
        let option = format!("size={megabytes}M");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(&root).status();
        assert!(mounted.unwrap().success(), "a tmpfs cannot be mounted");
        fs::create_dir(root.join(".store")).unwrap();
        fs::write(defaults, text).unwrap();
        site
    }

    /// One whose containers are on a disk of their own.
    pub(crate) fn on_a_disk(what: &str) -> Self {
        let site = Self::new(what);
        let (root, disk) = (site.root.join("tpc"), site.root.join("disk"));
        let text = fs::read(root.join(".store/defaults.json")).unwrap();
        fs::File::create(&disk).unwrap().set_len(256 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk).status();
        assert!(made.unwrap().success(), "mkfs.ext4 is not installed");
        mount_disk(&disk, &root);
        fs::create_dir(root.join(".store")).unwrap();
        fs::write(root.join(".store/defaults.json"), text).unwrap();
        site
    }

    /// What that disk would have if the power were cut now.
    pub(crate) fn after_a_power_cut(&self) -> PathBuf {
        let (copy, after) = (self.root.join("copy"), self.root.join("after"));
        fs::copy(self.root.join("disk"), &copy).unwrap();
        fs::create_dir(&after).unwrap();
        mount_disk(&copy, &after);
        after
    }

    /// Leaves so much room on that partition.
    pub(crate) fn leave(&self, megabytes: u64) {
        let filler = self.root.join("tpc/.filler");
        let _ = fs::remove_file(&filler);
        let space = rustix::fs::statvfs(self.root.join("tpc")).unwrap();
        let rest = (space.f_bavail * space.f_frsize).saturating_sub(megabytes << 20);
        let file = fs::File::create(&filler).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, rest).unwrap();
    }

    /// One that another process made.
    pub(crate) fn at(root: &Path, name: &str) -> Self {
        Self { root: root.to_owned(), name: TpcName::parse(name).unwrap(), directory: None }
    }

    pub(crate) fn open(&self) -> Tpcm<Stand> {
        self.open_as(false, true)
    }

    pub(crate) fn open_as(&self, dry_run: bool, wait: bool) -> Tpcm<Stand> {
        self.open_with(Settings { dry_run, wait, ..self.settings() })
    }

    /// As systemd does at boot.
    pub(crate) fn open_at_boot(&self) -> Tpcm<Stand> {
        self.open_with(Settings { at_boot: true, ..self.settings() })
    }

    fn open_with(&self, settings: Settings) -> Tpcm<Stand> {
        Tpcm::open_with(settings, Stand { units: self.root.join("units") }).unwrap()
    }

    /// Whether a start was asked for and not waited for.
    pub(crate) fn queued(&self) -> bool {
        self.root.join("queued").exists()
    }

    fn settings(&self) -> Settings {
        Settings {
            root: self.root.join("tpc"),
            units: self.root.join("units"),
            cgroups: self.root.join("cgroups"),
            sonic: None,
            at_boot: false,
            command: "the test".to_owned(),
            ..Settings::default()
        }
    }

    /// An archive as `docker save` makes it; the engine does not keep the image.
    pub(crate) fn archive(&self, image: &Image) -> PathBuf {
        let path = self.root.join(format!("{}.tar", image.version));
        if path.exists() {
            return path;
        }
        let files = self.root.join(format!("files-{}", image.version));
        fs::create_dir_all(files.join("bin")).unwrap();
        fs::create_dir_all(files.join("tpc/hook")).unwrap();
        fs::copy("/bin/busybox", files.join("bin/busybox")).expect("apt-get install busybox-static");
        for tool in ["sh", "sleep", "tar", "gzip", "mkdir", "cat", "dd"] {
            let _ = std::os::unix::fs::symlink("busybox", files.join("bin").join(tool));
        }
        // No two sites share an image, so that what is left of one is seen.
        fs::write(files.join("who"), self.name.as_str()).unwrap();
        fs::write(files.join("main"), image.main).unwrap();
        fs::write(files.join("tpc/hook/pre.sh"), image.pre).unwrap();
        fs::write(files.join("tpc/hook/post.sh"), image.post).unwrap();
        let mut tar = Command::new("tar")
            .args(["--create", "--owner=0", "--group=0", "--directory"])
            .arg(&files)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar is not installed");
        let named = format!("{}:{}", self.name, image.version);
        let environment = format!("ENV IMAGE_VERSION={}", image.version);
        let imported = Command::new("docker")
            .args(["import", "--change", &environment, "--change", r#"CMD ["/bin/sh", "/main"]"#])
            .args(["--change", &format!("LABEL site={} {}", self.name, image.label), "-", &named])
            .stdin(tar.stdout.take().unwrap())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(imported.success() && tar.wait().unwrap().success(), "the image could not be made");
        docker(&["save", "--output", path.to_str().unwrap(), &named]);
        docker(&["rmi", &named]);
        path
    }

    pub(crate) fn source(&self, image: &Image) -> SourceRequest {
        Self::file(&self.archive(image))
    }

    pub(crate) fn file(path: &Path) -> SourceRequest {
        SourceRequest::new(Source::parse(path.to_str().unwrap(), &SshOptions::default()).unwrap())
    }

    pub(crate) async fn install(&self, image: &Image) -> Result<Report, OpsError> {
        self.install_with(image, Options::default()).await
    }

    pub(crate) async fn install_with(&self, image: &Image, options: Options) -> Result<Report, OpsError> {
        let request = InstallRequest { name: self.name.clone(), source: self.source(image), options };
        self.open().install(request, &mut Nobody).await
    }

    pub(crate) async fn install_from(&self, url: &str) -> Result<Report, OpsError> {
        let source = SourceRequest::new(Source::parse(url, &SshOptions::default()).unwrap());
        let request = InstallRequest { name: self.name.clone(), source, options: Options::default() };
        self.open().install(request, &mut Nobody).await
    }

    pub(crate) async fn upgrade(&self, image: &Image) -> Result<Report, OpsError> {
        self.upgrade_with(image, false).await
    }

    pub(crate) async fn upgrade_with(&self, image: &Image, skip_data: bool) -> Result<Report, OpsError> {
        let (name, source, options) = (self.name.clone(), self.source(image), Options::default());
        let request = UpgradeRequest { name, source, options, skip_data };
        self.open().upgrade(request, &mut Nobody).await
    }

    /// As if a newer state had been made on another SONiC image since.
    pub(crate) fn newest_is_elsewhere(&self) {
        self.change_record(|record| record["container"] = "0".repeat(64).into());
    }

    pub(crate) fn change_record(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let record = self.root.join("tpc/.store/tpcs").join(self.name.as_str()).join("record.json");
        let mut json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
        change(&mut json);
        fs::write(&record, json.to_string()).unwrap();
    }

    /// As on another SONiC image: another engine, with nothing of ours, and other units.
    pub(crate) fn on_another_image(&self) {
        docker(&["rm", "--force", self.name.as_str()]);
        docker(&["rmi", &format!("tpc/{}:latest", self.name)]);
        for unit in fs::read_dir(self.root.join("units")).unwrap().flatten() {
            fs::remove_file(unit.path()).unwrap();
        }
    }

    pub(crate) fn volume(&self, path: &str) -> PathBuf {
        self.root.join("tpc").join(self.name.as_str()).join(path)
    }

    /// The version that runs, by the image that its container was made from; none if none runs.
    pub(crate) fn running(&self) -> Option<String> {
        if !running(self.name.as_str()) {
            return None;
        }
        let env = docker(&["inspect", "--format", "{{join .Config.Env \"\\n\"}}", self.name.as_str()]);
        env.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION=")).map(ToOwned::to_owned)
    }

    /// The versions that have run, as the data has it.
    pub(crate) fn data(&self) -> Vec<String> {
        let text = fs::read_to_string(self.volume("data")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.dedup();
        lines
    }

    /// Everything that could be left over, without what changes from run to run.
    pub(crate) fn everything(&self) -> Everything {
        let mut found = BTreeMap::new();
        let name = self.name.as_str();
        let filter = format!("name={name}");
        for container in
            docker(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}} {{.State}}"]).lines()
        {
            let (container, state) = container.split_once(' ').unwrap();
            found.insert(format!("container {container}"), state.to_owned());
        }
        let label = format!("label=site={name}");
        for image in
            docker(&["images", "--all", "--filter", &label, "--format", "{{.Repository}}:{{.Tag}}"]).lines()
        {
            found.insert(format!("image {image}"), String::new());
        }
        for directory in ["units", "tpc"] {
            walk(&self.root.join(directory), &self.root, &mut found);
        }
        found
    }
}

/// Names of files; of units and of what identifies a version, their content too.
fn walk(directory: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, root, found);
        } else if !name.ends_with("ends.json") {
            found.insert(name, String::new());
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.directory.is_none() {
            return;
        }
        let name = self.name.as_str();
        let list = |arguments: &[&str]| -> Vec<String> {
            String::from_utf8_lossy(&run(arguments).stdout).lines().map(ToOwned::to_owned).collect()
        };
        let quiet = |arguments: &[&str]| drop(run(arguments));
        for container in list(&["ps", "--all", "--quiet", "--filter", &format!("name={name}")]) {
            quiet(&["rm", "--force", &container]);
        }
        for image in list(&["images", "--quiet", "--filter", &format!("label=site={name}")]) {
            quiet(&["rmi", "--force", &image]);
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(name));
        }
        // Most are on none of their own.
        for mounted in ["tpc", "after"] {
            let _ = Command::new("umount").arg(self.root.join(mounted)).stderr(Stdio::null()).status();
        }
    }
}
