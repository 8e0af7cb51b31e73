//! The hooks of an upgrade: `hook/pre.sh` of the old version makes `backup/data.tar.gz`, `hook/post.sh` of the new one
//! takes it. They run in their containers, for a limited time, and what they say is kept.

use std::io::{self, Read};
use std::time::Duration;

use switchyard_core::tpc::TpcName;

use super::execute::Live;
use super::journal::Entry;
use super::services::Services;
use super::steps::blocking;
use super::{HOOK_TIME, OpsError, Tpcm, volume};

const PRE: &str = "hook/pre.sh";
const POST: &str = "hook/post.sh";
const DATA: &str = "backup/data.tar.gz";

/// More than that in one archive, and it is a bomb rather than a backup. Far above what a partition has.
const DATA_MAX: u64 = 1 << 40;

impl<S: Services> Tpcm<S> {
    pub(super) async fn pre_hook(&mut self, entry: &Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        if !self.run_hook(entry, PRE, live).await? {
            return Ok(());
        }
        self.check_data(&entry.name, live).await
    }

    pub(super) async fn post_hook(&mut self, entry: &Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        self.run_hook(entry, POST, live).await.map(drop)
    }

    /// Whether there is such a hook, and it ran and was content.
    async fn run_hook(
        &mut self,
        entry: &Entry,
        hook: &'static str,
        live: &mut Live<'_>,
    ) -> Result<bool, OpsError> {
        let name = &entry.name;
        if volume::open_below(&self.layout.volume(name), hook)?.is_none() {
            live.messages.push(format!("there is no {hook}"));
            return Ok(false);
        }
        let running = self.engine.container(name.as_str()).await?.is_some_and(|container| container.running);
        if !running {
            live.messages.push(format!("{hook} is not run: {name} does not run"));
            return Ok(false);
        }
        let time = Duration::from_secs(self.defaults.hook_time.unwrap_or(HOOK_TIME));
        live.progress.message(&format!("running {hook}"));
        let path = format!("/tpc/{hook}");
        let ran = self.engine.execute(name.as_str(), &["/bin/sh", &path], time).await?;
        if !ran.output.is_empty() {
            tracing::info!("{name}: {hook} said: {}", ran.output);
            live.messages.push(format!("{hook} said: {}", ran.output));
        }
        let failed = |why: String| {
            let said = ran.output.lines().last().map(|line| format!("; it said: {line}")).unwrap_or_default();
            OpsError::Hook { name: name.clone(), hook, why: format!("{why}{said}") }
        };
        match ran.code {
            Some(0) => Ok(true),
            Some(code) => Err(failed(format!("failed with exit code {code}"))),
            None => {
                // The engine cannot end one program of a container. A hook that hangs in the old version must not go on
                // writing into what was set aside, so that version is started anew; a new version is stopped anyway.
                if hook == PRE {
                    self.engine.kill(name.as_str()).await?;
                    // Until systemd has seen that it ended, a start would be over at once.
                    self.services.stop(&name.unit()).await?;
                    self.services.start(&name.unit()).await?.map_err(&failed)?;
                }
                Err(failed(format!("did not end within {} s", time.as_secs())))
            }
        }
    }

    /// The archive that the hook made is read once to its end: a broken one must be known before the old version stops.
    async fn check_data(&mut self, name: &TpcName, live: &mut Live<'_>) -> Result<(), OpsError> {
        let volume = self.layout.volume(name);
        let Some(file) = volume::open_below(&volume, DATA)? else {
            live.messages.push(format!("{PRE} made no {DATA}"));
            return Ok(());
        };
        let path = volume.join(DATA);
        blocking(move || {
            read_whole(file).map_err(|error| OpsError::BrokenData { path, why: error.to_string() })
        })
        .await
    }
}

fn read_whole(file: impl Read) -> io::Result<()> {
    let unpacked = flate2::read::MultiGzDecoder::new(file).take(DATA_MAX);
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries()? {
        io::copy(&mut entry?, &mut io::sink())?;
    }
    // What follows the last entry holds the checksum of the whole.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn data() -> Vec<u8> {
        let mut tar =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, "state", &b"12345"[..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn a_backup_that_is_cut_off_anywhere_is_no_backup() {
        let whole = data();
        read_whole(&whole[..]).unwrap();
        for end in 1..whole.len() {
            assert!(read_whole(&whole[..end]).is_err(), "cut off after {end} of {} bytes", whole.len());
        }
    }

    #[test]
    fn what_is_no_archive_is_no_backup() {
        assert!(read_whole(&b"hello"[..]).is_err());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[7; 2000]).unwrap();
        assert!(read_whole(&gzip.finish().unwrap()[..]).is_err());
    }
}
