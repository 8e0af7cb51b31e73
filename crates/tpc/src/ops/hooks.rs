//! The hooks of an upgrade: `hook/pre.sh` of the old version makes `backup/data.tar.gz`, `hook/post.sh` of the new one
//! takes it. They run in their containers, for a limited time, and what they say is kept.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use switchyard_core::tpc::TpcName;
use switchyard_engine::EngineError;

use super::execute::Live;
use super::interrupts::or_interrupted;
use super::journal::Entry;
use super::record::Said;
use super::services::Services;
use super::steps::blocking;
use super::{HOOK_TIME, OpsError, Tpcm, volume};
use crate::archive::{ArchiveError, read_through};

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
        let time = self.hook_time();
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

    fn hook_time(&self) -> Duration {
        Duration::from_secs(self.defaults.hook_time.unwrap_or(HOOK_TIME))
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
        let given_up = GivenUp::default();
        let watched = Watched::new(file, self.hook_time(), &given_up);
        let reading = blocking(move || {
            read_whole(watched, DATA_MAX)
                .map_err(|error| OpsError::BrokenData { path, why: error.to_string() })
        });
        or_interrupted(&mut self.interrupts, reading).await
    }
}

/// Nobody waits any more for what is read: told to a thread, which cannot be ended, when this goes.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A file that is read for a limited time, and as long as somebody waits for it: what a container made may unpack to
/// something that takes hours.
struct Watched<R> {
    file: R,
    time: Duration,
    began: Instant,
    given_up: Arc<AtomicBool>,
}

impl<R> Watched<R> {
    fn new(file: R, time: Duration, given_up: &GivenUp) -> Self {
        Self { file, time, began: Instant::now(), given_up: Arc::clone(&given_up.0) }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ended = |why: String| Err(ArchiveError::Input(io::Error::other(why)).into());
        if self.given_up.load(Relaxed) {
            return ended("it was given up".to_owned());
        }
        if self.began.elapsed() >= self.time {
            return ended(format!("it takes longer than {} s", self.time.as_secs()));
        }
        self.file.read(buffer)
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

/// What follows the last entry holds the checksum of the whole, so it is read too.
fn read_whole(file: impl Read, most: u64) -> Result<(), ArchiveError> {
    let mut unpacked = flate2::read::MultiGzDecoder::new(file).take(most);
    let read = read_through(&mut unpacked);
    if unpacked.limit() == 0 { Err(ArchiveError::TooLarge { limit: most }) } else { read }
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

    fn check(file: &[u8]) -> Result<(), ArchiveError> {
        read_whole(file, DATA_MAX)
    }

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn a_backup_that_is_cut_off_anywhere_is_no_backup() {
        let whole = data();
        check(&whole).unwrap();
        for end in 1..whole.len() {
            assert!(check(&whole[..end]).is_err(), "cut off after {end} of {} bytes", whole.len());
        }
    }

    #[test]
    fn what_is_no_archive_is_no_backup() {
        assert!(check(b"hello").is_err());
        assert!(check(&packed(&[7; 2000])).is_err());
    }

    /// The header of a file of the largest size there is, all of it holes but for the blocks that follow.
    fn sparse(blocks: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_path("holes").unwrap();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(512 * blocks as u64);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.realsize.copy_from_slice(&[0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]);
        gnu.set_is_extended(blocks > 0);
        header.set_cksum();
        header
    }

    #[test]
    fn holes_take_no_time_and_their_map_is_no_entry() {
        check(&packed(&[sparse(0).as_bytes(), &[0; 1024][..]].concat())).unwrap();
        let (map, last_map) = ([1; 512], [0; 512]);
        let whole = [sparse(1).as_bytes(), &map[..], &last_map, &[7; 512], &[0; 1024]].concat();
        check(&packed(&whole)).unwrap();
    }

    #[test]
    fn a_backup_that_unpacks_to_too_much_is_given_up() {
        let mut header = tar::Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_size(1 << 50);
        header.set_cksum();
        // Several gzips one after the other are one.
        let bomb = [packed(header.as_bytes()), packed(&vec![0; 16 << 20]).repeat(256)].concat();
        let given_up = GivenUp::default();
        let refused = |time, most| {
            let watched = Watched::new(&bomb[..], Duration::from_millis(time), &given_up);
            read_whole(watched, most).unwrap_err().to_string()
        };
        assert!(refused(60_000, 1 << 20).contains("more than the 1048576 bytes"));
        assert!(refused(20, DATA_MAX).contains("takes longer than"));
        let watched = Watched::new(&bomb[..], Duration::MAX, &given_up);
        drop(given_up);
        assert!(read_whole(watched, DATA_MAX).unwrap_err().to_string().contains("given up"));
    }
}
