//! The subsystem sftp, version 3, as far as reading one file needs it: init, stat, open, read.
//!
//! Many reads are on their way at once, so that a long line is as fast as a short one.

mod wire;

use std::collections::VecDeque;

use super::super::partial::Partial;
use super::super::{FetchError, Progress};
use super::{Session, broken};
use wire::{Attributes, Reply, Wire};

/// What a server sends for one read, whatever is asked for.
const PIECE: u32 = 32 * 1024;
/// How many are on their way: two megabytes.
const AHEAD: usize = 64;

pub(super) async fn receive(
    session: &Session<'_>,
    path: &str,
    part: &mut Partial<'_>,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    let failed = |error: russh::Error, part: &Partial<'_>| broken(&session.server, part, &error);
    let channel = session.handle.channel_open_session().await.map_err(|error| failed(error, part))?;
    channel.request_subsystem(true, "sftp").await.map_err(|error| failed(error, part))?;
    let mut wire = Wire::new(session, path, channel.into_stream());
    wire.init(part).await?;
    let file = wire.stat(part).await?;
    let (Some(size), true) = (file.size, file.is_file) else {
        return Err(wire.refused("it is no file"));
    };
    let validator = validator(&file);
    // A file that shrank is another one.
    if part.validator().is_some_and(|known| Some(known) == validator.as_deref()) && part.len() <= size {
        part.go_on(progress)?;
    } else {
        part.restart(validator, Some(size), progress)?;
    }
    let handle = wire.open(part).await?;
    read(&mut wire, &handle, size, part, progress).await
}

/// By what one version of a file is told from another.
fn validator(file: &Attributes) -> Option<String> {
    Some(format!("{}:{}", file.size?, file.modified?))
}

/// A read that is on its way.
struct Asked {
    id: u32,
    offset: u64,
    len: u32,
    /// What came, if it came out of turn.
    came: Option<Vec<u8>>,
}

async fn read(
    wire: &mut Wire<'_>,
    handle: &[u8],
    size: u64,
    part: &mut Partial<'_>,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    let mut asked: VecDeque<Asked> = VecDeque::with_capacity(AHEAD);
    let mut next = part.len();
    while part.len() < size {
        while asked.len() < AHEAD && next < size {
            let len = u32::try_from(size - next).unwrap_or(u32::MAX).min(PIECE);
            let id = wire.ask_for(handle, next, len, part).await?;
            asked.push_back(Asked { id, offset: next, len, came: None });
            next += u64::from(len);
        }
        let (id, reply) = wire.reply(part).await?;
        let Some(slot) = asked.iter_mut().find(|slot| slot.id == id) else { continue };
        match reply {
            Reply::Data(data) if !data.is_empty() && data.len() <= slot.len as usize => {
                slot.came = Some(data);
            }
            Reply::End => return Err(wire.refused("it became shorter while it was read")),
            Reply::Status(why) => return Err(wire.refused(&why)),
            _ => return Err(wire.not_so("an answer to another question")),
        }
        while let Some(data) = asked.front_mut().and_then(|slot| slot.came.take()) {
            let Some(slot) = asked.pop_front() else { break };
            part.write(&data, progress)?;
            let came = data.len() as u64;
            if came < u64::from(slot.len) {
                // The rest of a short answer comes before all that is on its way, whose answers find no slot any more.
                asked.clear();
                next = slot.offset + came;
            }
        }
    }
    Ok(())
}
