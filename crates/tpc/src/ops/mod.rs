//! Operations on third-party containers, each a plan of the core carried out step by step under a journal.
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
//! tpcm.restore()                          -> Vec<Report>     // queues the starts, waits for none: it runs at boot
//! tpcm.recover()                          -> Vec<Recovered>  // every changing command begins with it
//! tpcm.list()                             -> Vec<Summary>
//! tpcm.show(&name)                        -> Details
//! tpcm.export(&name, &file) / export_all(&file) / import(&file)  -> Report / Vec<Report>
//! tpcm.verify() -> Verified,  tpcm.prune() -> Pruned
//! tpcm.apply()                            -> Vec<Report>     // CONFIG_DB TPC rows: enable, disable, limits
//! tpcm.run(&name) -> ExitCode's u8,  tpcm.stop(&name)        // what the unit calls: hidden verbs `tpcm run NAME`, `tpcm stop NAME`
//! tpcm.vrf()                              -> the ip rule of the management VRF put right
//! ```

mod api;
mod record;

pub use api::{
    Before, Details, InstallRequest, Older, Options, Pruned, Recovered, Report, State, Summary, UpgradeRequest, Usage,
    Verified,
};
pub use record::Happened;
