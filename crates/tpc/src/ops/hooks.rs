//! The hooks of an upgrade: `hook/pre.sh` of the old version makes `backup/data.tar.gz`, `hook/post.sh` of the new one
//! takes it. They run in their containers, for a limited time, and what they say is kept.

use std::io::{self, Read};
use std::time::Duration;

use switchyard_core::tpc::TpcName;
use switchyard_engine::EngineError;

use super::execute::Live;
use super::journal::Entry;
use super::record::Said;
use super::services::Services;
use super::steps::blocking;
use super::{HOOK_TIME, OpsError, Tpcm, volume};

const PRE: &str = "hook/pre.sh";
const POST: &str = "hook/post.sh";
const DATA: &str = "backup/data.tar.gz";

/// So many bytes of what a hook said are kept in the history, which is part of the record.
const SAID_MAX: usize = 4 << 10;

/// More than that in one archive, and it is a bomb rather than a backup. Far above what a partition has.
const DATA_MAX: u64 = 1 << 40;

impl<S: Services> Tpcm<S> {
    pub(super) async fn pre_hook(&mut self, entry: &mut Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        if !self.run_hook(entry, PRE, live).await? {
            return Ok(());
        }
        self.check_data(&entry.name, live).await
    }

    pub(super) async fn post_hook(&mut self, entry: &mut Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        self.run_hook(entry, POST, live).await.map(drop)
    }

    /// Whether there is such a hook, and it ran and was content.
    async fn run_hook(
        &mut self,
        entry: &mut Entry,
        hook: &'static str,
        live: &mut Live<'_>,
    ) -> Result<bool, OpsError> {
        let name = &entry.name.clone();
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
        let ran = match self.engine.execute(name.as_str(), &["/bin/sh", &path], time).await {
            // It ended after we looked: how is told where it is seen whether it stays up.
            Err(EngineError::Refused { .. }) if hook == POST && self.has_ended(name).await => {
                return Ok(false);
            }
            ran => ran?,
        };
        let output = last_lines(&ran.output);
        if !output.is_empty() {
            tracing::info!("{name}: {hook} said: {output}");
            live.messages.push(format!("{hook} said: {output}"));
            let event = entry.after.as_mut().and_then(|after| after.history.last_mut());
            if let Some(event) = event {
                event.said.push(Said { hook: hook.to_owned(), output: output.clone() });
            }
        }
        let failed = |why: String| {
            let said = output.lines().last().map(|line| format!("; it said: {line}")).unwrap_or_default();
            OpsError::Hook { name: name.clone(), hook, why: format!("{why}{said}") }
        };
        match ran.code {
            Some(0) => Ok(true),
            // A new version that has ended took the hook along: how it ended is what counts, and is told where it is
            // seen whether it stays up.
            Some(_) if hook == POST && self.has_ended(name).await => Ok(false),
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

    /// The engine tells of the end of a program in a container a little before it tells of the container's own.
    async fn has_ended(&self, name: &TpcName) -> bool {
        const A_LITTLE: Duration = Duration::from_secs(1);
        tokio::time::timeout(A_LITTLE, self.engine.wait_end(name.as_str())).await.is_ok()
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

/// The end of what a hook said: whole lines, so many bytes at most. It is printed, and a container must not be able to
/// move the cursor with it.
fn last_lines(output: &str) -> String {
    let clean: String = output.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
    let mut from = clean.len().saturating_sub(SAID_MAX);
    while !clean.is_char_boundary(from) {
        from += 1;
    }
    let end = clean.get(from..).unwrap_or_default();
    let whole = if from == 0 { end } else { end.split_once('\n').map_or(end, |(_, whole)| whole) };
    whole.trim_end().to_owned()
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
    fn of_what_a_hook_said_the_last_whole_lines_are_kept() {
        assert_eq!(last_lines("one\n\ttwo \u{1b}[2J\n"), "one\n\ttwo [2J");
        let much = "ä".repeat(99) + "\n";
        let kept = last_lines(&much.repeat(99));
        assert!(kept.len() <= SAID_MAX && kept.len() > SAID_MAX - 200, "{}", kept.len());
        assert!(kept.lines().all(|line| line.chars().count() == 99));
        assert!(last_lines(&"ä".repeat(9999)).len() <= SAID_MAX);
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
