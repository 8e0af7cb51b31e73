//! Operations on third-party containers, each a plan of the core carried out step by step under a journal.
//!
//! `execute` runs plans and finishes or undoes what was cut short, `steps` and `undo` are what each step does; the other
//! modules are the verbs. The record of a TPC is the truth about it, the engine and systemd are made to agree with it.
//!
//! The command line's whole view of this room (all `async`, on a tokio runtime with one thread):
//!
//! ```text
//! let mut tpcm = Tpcm::open(Settings::default()).await?;     // Settings { root, units, binary, socket, sonic, dry_run, wait, command }
//! tpcm.install(InstallRequest { name, source, options }, &mut progress)   -> Report
//! tpcm.upgrade(UpgradeRequest { name, source, options, skip_data }, &mut progress) -> Report
//! tpcm.uninstall(&name, purge)            -> Report
//! tpcm.rollback(&name, keep_data)         -> Report
//! tpcm.resources(&name, Asked)            -> Report
//! tpcm.save(&[names] /* none: all */)     -> Vec<Report>
//! tpcm.restore()                          -> Vec<Report>     // at boot queues the starts, waits for none
//! tpcm.recover()                          -> Vec<Recovered>  // every changing command begins with it
//! tpcm.list()                             -> Vec<Summary>
//! tpcm.show(&name)                        -> Details
//! tpcm.export(&name, &file) / export_all(&file) / import(&file)
//! tpcm.verify() -> Verified,  tpcm.prune() -> Pruned
//! tpcm.apply()                            -> Vec<Report>     // CONFIG_DB TPC rows: enable, disable, limits
//! tpcm.watch()                                               // the same after each change of the rows
//! tpcm.run(&name) -> exit code,  tpcm.stop(&name)            // what the unit calls: hidden verbs `tpcm run NAME`, `tpcm stop NAME`
//! tpcm.vrf()                              // the ip rule of the management VRF put right
//! ```

mod api;
mod append;
mod beneath;
mod bring;
mod cgroup;
mod commit;
mod config;
mod container;
mod disk;
mod error;
mod execute;
mod export;
mod hooks;
mod import;
mod install;
mod interrupts;
mod journal;
mod layout;
mod loading;
mod lock;
mod look;
mod record;
mod restore;
mod run;
mod save;
mod services;
mod steps;
mod strays;
mod tree;
mod undo;
mod unit;
mod volume;
mod vrf;

pub use api::{
    Before, Details, InstallRequest, Older, Options, Pruned, Recovered, Report, SourceRequest, State,
    Summary, UpgradeRequest, Usage, Verified,
};
pub use error::OpsError;
pub use record::{Happened, Said};
pub use services::{Services, Systemd};
pub use unit::NOT_AGAIN;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use switchyard_core::tpc::{Defaults, Machine, TpcName, human};
use switchyard_engine::Engine;
use switchyard_sonic::Paths;

use crate::store::Store;
use interrupts::{Interrupts, or_interrupted};
use layout::Layout;
use lock::Lock;

/// A new version must stay up for so many seconds.
const STAYS_UP: u64 = 5;

/// A hook may run for so many seconds.
const HOOK_TIME: u64 = 300;

/// Blocks and directories cost something, and SONiC itself writes to this partition.
const SLACK: u64 = 16 << 20;

/// Where everything is and how it is to be done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory that outlives SONiC images.
    pub root: PathBuf,
    /// Where units are installed.
    pub units: PathBuf,
    /// What units run: this program as `tpcm`.
    pub binary: PathBuf,
    /// The engine's socket.
    pub socket: PathBuf,
    /// The root of the cgroup hierarchies.
    pub cgroups: PathBuf,
    /// The switch's databases; none on a machine without.
    pub sonic: Option<Paths>,
    /// Nothing is done, only told.
    pub dry_run: bool,
    /// Whether to wait for another tpcm.
    pub wait: bool,
    /// Whether systemd runs this at boot: starts are asked for and not waited for.
    pub at_boot: bool,
    /// What was typed, for whoever has to wait. Without secrets.
    pub command: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/host/tpc"),
            units: PathBuf::from("/etc/systemd/system"),
            binary: PathBuf::from("/usr/bin/tpcm"),
            socket: PathBuf::from(switchyard_engine::SOCKET),
            cgroups: PathBuf::from("/sys/fs/cgroup"),
            sonic: Some(Paths::from_env()),
            dry_run: false,
            wait: true,
            // systemd gives every process that it starts itself an id of that run.
            at_boot: std::env::var_os("INVOCATION_ID").is_some(),
            command: "tpcm".to_owned(),
        }
    }
}

/// The third-party containers of a switch.
pub struct Tpcm<S = Systemd> {
    settings: Settings,
    layout: Layout,
    engine: Engine,
    services: S,
    store: Store,
    defaults: Defaults,
    lock: Option<Lock>,
    /// Operations that the last recovery could neither finish nor undo, and why.
    stuck: BTreeMap<TpcName, String>,
    /// Signals, from the first operation on.
    interrupts: Option<Interrupts>,
}

impl Tpcm<Systemd> {
    /// The real switch.
    pub async fn open(settings: Settings) -> Result<Self, OpsError> {
        Self::open_with(settings, Systemd::connect().await?)
    }
}

impl<S: Services> Tpcm<S> {
    /// A switch whose units somebody else starts and stops.
    pub fn open_with(settings: Settings, services: S) -> Result<Self, OpsError> {
        let layout = Layout::new(&settings.root);
        layout::create(layout.root(), 0o755)?;
        let store = Store::open(layout.root())?;
        layout::create(&layout.records(), 0o700)?;
        let hint =
            "mend it: limits {cpu, memory, disk}, cap {cpu, memory, disk}, cgroup, stays_up, hook_time";
        let defaults = layout::read_json(&layout.defaults(), hint)?.unwrap_or_default();
        let engine = Engine::connect(&settings.socket)?;
        Ok(Self {
            settings,
            layout,
            engine,
            services,
            store,
            defaults,
            lock: None,
            stuck: BTreeMap::new(),
            interrupts: None,
        })
    }

    /// One operation at a time. What an earlier one left is put in order first; what cannot be is in the way of that TPC
    /// alone.
    async fn begin(&mut self) -> Result<(), OpsError> {
        if self.settings.dry_run {
            return Ok(());
        }
        self.take_lock().await?;
        self.recover_locked().await.map(drop)
    }

    async fn take_lock(&mut self) -> Result<(), OpsError> {
        if self.lock.is_none() {
            let tell = |text: &str| tracing::warn!("{text}");
            let (path, command) = (self.layout.lock(), &self.settings.command);
            let taken = Lock::take(&path, command, self.settings.wait, tell);
            self.lock = Some(or_interrupted(&mut self.interrupts, taken).await?);
        }
        Ok(())
    }

    /// From here on signals are noted rather than died of.
    fn note_interrupts(&mut self) -> Result<(), OpsError> {
        if self.interrupts.is_none() {
            let listening = Interrupts::listen();
            let failed = OpsError::file("hear of signals for", self.layout.root());
            self.interrupts = Some(listening.map_err(failed)?);
        }
        Ok(())
    }

    fn machine(&self) -> Result<Machine, OpsError> {
        let root = self.layout.root();
        cgroup::machine(root).map_err(OpsError::file("look at", root))
    }

    /// Whether there is room for so many bytes, and some more for what else writes there.
    fn has_room(&self, what: &str, bytes: u64) -> Result<(), OpsError> {
        let free = self.free()?;
        let needed = bytes.saturating_add(SLACK);
        if needed <= free {
            return Ok(());
        }
        Err(self.no_room(what, needed, free))
    }

    fn no_room(&self, what: &str, needed: u64, free: u64) -> OpsError {
        OpsError::NoSpace {
            what: what.to_owned(),
            needed: human(needed),
            free: human(free),
            path: self.layout.root().to_owned(),
        }
    }

    /// Whether what is written there takes from the same room.
    fn shares_the_disk(&self, other: &Path) -> bool {
        let device = |path: &Path| std::fs::metadata(path).map(|about| about.dev()).ok();
        device(self.layout.root()).is_some_and(|ours| device(other) == Some(ours))
    }

    /// What may be written without taking the last of the room from others.
    fn spare(&self) -> Result<u64, OpsError> {
        Ok(self.free()?.saturating_sub(SLACK))
    }

    fn free(&self) -> Result<u64, OpsError> {
        let root = self.layout.root();
        let space =
            rustix::fs::statvfs(root).map_err(|error| OpsError::file("look at", root)(error.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}
