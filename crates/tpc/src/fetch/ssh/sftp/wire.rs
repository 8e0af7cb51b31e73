//! The packets of sftp: a length, a kind, a number, and fields in network order.

use russh::ChannelStream;
use russh::client::Msg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout_at;

use super::super::super::FetchError;
use super::super::super::error::one_line;
use super::super::super::partial::Partial;
use super::super::super::watch::Watch;
use super::super::{Session, cut};

const VERSION: u32 = 3;
/// A server sends at most what was asked for and a little around it.
const PACKET_MAX: u32 = 256 * 1024;

const INIT: u8 = 1;
const HELLO: u8 = 2;
const OPEN: u8 = 3;
const READ: u8 = 5;
const STAT: u8 = 17;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const ATTRIBUTES: u8 = 105;

const TO_READ: u32 = 1;
const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const AT_END: u32 = 1;

/// What the server says of the file.
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) modified: Option<u32>,
    pub(super) is_file: bool,
}

/// What the server answers.
pub(super) enum Reply {
    Data(Vec<u8>),
    Handle(Vec<u8>),
    Attributes(Attributes),
    End,
    Status(String),
}

pub(super) struct Wire<'a> {
    session: &'a Session<'a>,
    path: &'a str,
    stream: ChannelStream<Msg>,
    watch: Watch,
    last: u32,
}

/// Takes fields from a packet; nothing if it ends too early.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.bytes(count)
    }

    fn reply(mut self, kind: u8) -> Option<Reply> {
        Some(match kind {
            DATA => Reply::Data(self.text()?.to_vec()),
            HANDLE => Reply::Handle(self.text()?.to_vec()),
            ATTRIBUTES => Reply::Attributes(self.attributes()?),
            STATUS => match self.number()? {
                AT_END => Reply::End,
                2 => Reply::Status("there is no such file".to_owned()),
                3 => Reply::Status("it may not be read by this user".to_owned()),
                code => {
                    let words = self.text().map(String::from_utf8_lossy).unwrap_or_default();
                    Reply::Status(one_line(&format!("the server says {words} (code {code})")))
                }
            },
            _ => return None,
        })
    }

    fn attributes(&mut self) -> Option<Attributes> {
        const KIND: u32 = 0o170_000;
        const FILE: u32 = 0o100_000;

        let has = self.number()?;
        let size = if has & HAS_SIZE == 0 { None } else { Some(self.long()?) };
        if has & HAS_OWNER != 0 {
            self.bytes(8)?;
        }
        let is_file = has & HAS_MODE == 0 || self.number()? & KIND == FILE;
        let times = if has & HAS_TIMES == 0 { None } else { Some((self.number()?, self.number()?)) };
        Some(Attributes { size, modified: times.map(|(_, modified)| modified), is_file })
    }
}

fn text(packet: &mut Vec<u8>, text: &[u8]) {
    packet.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    packet.extend(text);
}

impl<'a> Wire<'a> {
    pub(super) fn new(session: &'a Session<'a>, path: &'a str, stream: ChannelStream<Msg>) -> Self {
        Self { session, path, stream, watch: Watch::new(session.request.patience.stall), last: 0 }
    }

    pub(super) fn refused(&self, why: &str) -> FetchError {
        let server = self.session.server.clone();
        FetchError::Remote { server, path: self.path.to_owned(), why: one_line(why) }
    }

    pub(super) fn not_so(&self, why: &str) -> FetchError {
        let why = format!("that is not sftp: {why}");
        FetchError::Protocol { server: self.session.server.clone(), why }
    }

    /// Greets. A server without the subsystem closes the channel at once.
    pub(super) async fn init(&mut self, part: &Partial<'_>) -> Result<(), FetchError> {
        let none =
            FetchError::NotOffered { server: self.session.server.clone(), asked: "sftp", other: "scp" };
        if self.send(INIT, &VERSION.to_be_bytes(), part).await.is_err() {
            return Err(none);
        }
        match self.packet(part).await {
            Ok((HELLO, rest)) if Fields(&rest).number().is_some_and(|version| version >= VERSION) => Ok(()),
            Ok(_) => Err(self.not_so("another greeting")),
            Err(FetchError::Cut { .. }) => Err(none),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn stat(&mut self, part: &Partial<'_>) -> Result<Attributes, FetchError> {
        let mut fields = self.numbered();
        text(&mut fields, self.path.as_bytes());
        self.send(STAT, &fields, part).await?;
        match self.reply(part).await? {
            (_, Reply::Attributes(attributes)) => Ok(attributes),
            (_, Reply::Status(why)) => Err(self.refused(&why)),
            _ => Err(self.not_so("an answer to another question")),
        }
    }

    pub(super) async fn open(&mut self, part: &Partial<'_>) -> Result<Vec<u8>, FetchError> {
        let mut fields = self.numbered();
        text(&mut fields, self.path.as_bytes());
        fields.extend(TO_READ.to_be_bytes());
        // No attributes: the file is there.
        fields.extend(0_u32.to_be_bytes());
        self.send(OPEN, &fields, part).await?;
        match self.reply(part).await? {
            (_, Reply::Handle(handle)) => Ok(handle),
            (_, Reply::Status(why)) => Err(self.refused(&why)),
            _ => Err(self.not_so("an answer to another question")),
        }
    }

    /// Asks for a piece, and gives the question's number.
    pub(super) async fn ask_for(
        &mut self,
        handle: &[u8],
        offset: u64,
        len: u32,
        part: &Partial<'_>,
    ) -> Result<u32, FetchError> {
        let mut fields = self.numbered();
        text(&mut fields, handle);
        fields.extend(offset.to_be_bytes());
        fields.extend(len.to_be_bytes());
        self.send(READ, &fields, part).await?;
        Ok(self.last)
    }

    /// The next answer, and the number of its question.
    pub(super) async fn reply(&mut self, part: &Partial<'_>) -> Result<(u32, Reply), FetchError> {
        let (kind, rest) = self.packet(part).await?;
        let mut fields = Fields(&rest);
        let reply = fields.number().and_then(|id| Some((id, fields.reply(kind)?)));
        reply.ok_or_else(|| self.not_so("a packet that cannot be read"))
    }

    fn numbered(&mut self) -> Vec<u8> {
        self.last = self.last.wrapping_add(1);
        self.last.to_be_bytes().to_vec()
    }

    async fn send(&mut self, kind: u8, fields: &[u8], part: &Partial<'_>) -> Result<(), FetchError> {
        let mut packet = Vec::with_capacity(fields.len() + 5);
        packet.extend(u32::try_from(fields.len() + 1).unwrap_or(u32::MAX).to_be_bytes());
        packet.push(kind);
        packet.extend(fields);
        let sent = timeout_at(self.watch.deadline(), self.stream.write_all(&packet)).await;
        let sent = sent.map_err(|_| self.stalled(part))?;
        sent.map_err(|error| cut(&self.session.server, part, &error.to_string()))
    }

    fn stalled(&self, part: &Partial<'_>) -> FetchError {
        let seconds = self.session.request.patience.stall.as_secs();
        FetchError::Stalled { server: self.session.server.clone(), seconds, got: part.len() }
    }

    async fn packet(&mut self, part: &Partial<'_>) -> Result<(u8, Vec<u8>), FetchError> {
        let deadline = self.watch.deadline();
        let receive = async {
            let len = self.stream.read_u32().await?;
            if len == 0 || len > PACKET_MAX {
                return Ok(None);
            }
            let kind = self.stream.read_u8().await?;
            let mut rest = vec![0; usize::try_from(len).unwrap_or_default() - 1];
            self.stream.read_exact(&mut rest).await?;
            Ok(Some((kind, rest)))
        };
        let received = timeout_at(deadline, receive).await.map_err(|_| self.stalled(part))?;
        let received =
            received.map_err(|error: std::io::Error| cut(&self.session.server, part, &error.to_string()))?;
        let (kind, rest) = received.ok_or_else(|| self.not_so("a packet of no sensible length"))?;
        self.watch.came(rest.len());
        Ok((kind, rest))
    }
}
