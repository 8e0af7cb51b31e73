//! The old protocol: a program `scp` on the server writes a line about the file, and then the file.

use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::time::timeout_at;

use super::super::error::one_line;
use super::super::partial::Partial;
use super::super::watch::Watch;
use super::super::{FetchError, Progress};
use super::{Session, broken, cut};

/// A line about a file is no longer than its name.
const LINE_MAX: usize = 8192;

/// What the program says, by its first byte.
const FILE: u8 = b'C';
const TIMES: u8 = b'T';
const DIRECTORY: u8 = b'D';
const WARNING: u8 = 1;
const FAILURE: u8 = 2;

/// A shell's exit code for a program that is not there.
const NO_PROGRAM: u32 = 127;

pub(super) async fn receive(
    session: &Session<'_>,
    path: &str,
    part: &mut Partial<'_>,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    let failed = |error: russh::Error, part: &Partial<'_>| broken(&session.server, part, &error);
    let channel = session.handle.channel_open_session().await.map_err(|error| failed(error, part))?;
    channel.exec(true, format!("scp -f {}", quoted(path))).await.map_err(|error| failed(error, part))?;
    let watch = Watch::new(session.request.patience.stall);
    let mut wire = Wire { session, path, channel, watch, buffer: Vec::new(), at: 0, said: String::new() };
    wire.confirm(part).await?;
    let size = wire.header(part).await?;
    part.restart(None, Some(size), progress)?;
    wire.confirm(part).await?;
    while part.len() < size {
        wire.fill(part).await?;
        let left = usize::try_from(size - part.len()).unwrap_or(usize::MAX);
        let piece = wire.taken(left);
        part.write(&piece, progress)?;
    }
    // A byte that says whether the program could read all of it: a file that shrank is filled with nulls.
    if wire.byte(part).await? == 0 {
        return wire.confirm(part).await;
    }
    let why = wire.line(part).await?;
    Err(wire.refused(&why))
}

/// One word for the shell there. A name that begins like an option is written as a path.
fn quoted(path: &str) -> String {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("./{path}") };
    format!("'{}'", path.replace('\'', "'\\''"))
}

struct Wire<'a> {
    session: &'a Session<'a>,
    path: &'a str,
    channel: Channel<Msg>,
    watch: Watch,
    buffer: Vec<u8>,
    at: usize,
    /// What the program or the shell says to people.
    said: String,
}

impl Wire<'_> {
    async fn confirm(&mut self, part: &Partial<'_>) -> Result<(), FetchError> {
        let sent = self.channel.data_bytes(vec![0]).await;
        sent.map_err(|error| broken(&self.session.server, part, &error))
    }

    /// The size of the file.
    async fn header(&mut self, part: &Partial<'_>) -> Result<u64, FetchError> {
        loop {
            let kind = self.byte(part).await?;
            let line = self.line(part).await?;
            match kind {
                FILE => {
                    let size = line.split(' ').nth(1).and_then(|size| size.parse().ok());
                    return size.ok_or_else(|| self.not_so(&line));
                }
                TIMES => self.confirm(part).await?,
                DIRECTORY => return Err(self.refused("it is a directory")),
                WARNING | FAILURE => return Err(self.refused(&line)),
                _ => return Err(self.not_so(&format!("{}{line}", char::from(kind)))),
            }
        }
    }

    fn refused(&self, why: &str) -> FetchError {
        let why = why.strip_prefix("scp: ").unwrap_or(why);
        let why = why.strip_prefix(self.path).map_or(why, |rest| rest.trim_start_matches(": "));
        FetchError::Remote {
            server: self.session.server.clone(),
            path: self.path.to_owned(),
            why: one_line(why),
        }
    }

    fn not_so(&self, line: &str) -> FetchError {
        let why = format!("that is not scp: {}", one_line(line));
        FetchError::Protocol { server: self.session.server.clone(), why }
    }

    async fn byte(&mut self, part: &Partial<'_>) -> Result<u8, FetchError> {
        self.fill(part).await?;
        let byte = self.taken(1);
        Ok(byte.first().copied().unwrap_or_default())
    }

    async fn line(&mut self, part: &Partial<'_>) -> Result<String, FetchError> {
        let mut line = Vec::new();
        while line.len() < LINE_MAX {
            match self.byte(part).await? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte => line.push(byte),
            }
        }
        Err(self.not_so("a line without end"))
    }

    fn taken(&mut self, max: usize) -> Vec<u8> {
        let end = self.buffer.len().min(self.at.saturating_add(max));
        let taken = self.buffer[self.at..end].to_vec();
        self.at = end;
        taken
    }

    /// Waits until something is there to be taken.
    async fn fill(&mut self, part: &Partial<'_>) -> Result<(), FetchError> {
        let server = &self.session.server;
        while self.at == self.buffer.len() {
            let message = timeout_at(self.watch.deadline(), self.channel.wait()).await.map_err(|_| {
                let seconds = self.session.request.patience.stall.as_secs();
                FetchError::Stalled { server: server.clone(), seconds, got: part.len() }
            })?;
            match message {
                Some(ChannelMsg::Data { data }) => {
                    self.watch.came(data.len());
                    (self.buffer, self.at) = (data.to_vec(), 0);
                }
                Some(ChannelMsg::ExtendedData { data, .. }) if self.said.len() < LINE_MAX => {
                    self.said.push_str(&String::from_utf8_lossy(&data));
                }
                Some(ChannelMsg::ExitStatus { exit_status: NO_PROGRAM } | ChannelMsg::Failure) => {
                    return Err(FetchError::NotOffered {
                        server: server.clone(),
                        asked: "scp",
                        other: "sftp",
                    });
                }
                Some(ChannelMsg::ExitStatus { exit_status }) if exit_status != 0 => {
                    let said = self.said.clone();
                    return Err(self.refused(&said));
                }
                None | Some(ChannelMsg::Close) => return Err(cut(server, part, &self.said)),
                Some(_) => {}
            }
        }
        Ok(())
    }
}
