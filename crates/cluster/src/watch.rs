//! What happens to this switch's Node and to the pods on it, as it happens.
//!
//! Two watches, each of a list first and its changes after that. The server ends every watch now and then: it is taken up
//! again without a word. A real loss is said once, and again only when what is wrong becomes something that does not
//! pass by itself. What is kept is one copy of each object there is now, so months change nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::debug;

use crate::backoff::{Backoff, random};
use crate::client::{Client, LIST_MAX};
use crate::error::ClusterError;
use crate::https::{self, Ask, CALL_MAX};
use crate::objects::{Metadata, Node, Object, PodSeen};

/// What a switch sees of itself in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnEvent {
    /// Our Node, the first time and whenever it differs.
    NodeSeen(Box<Node>),
    /// The cluster has no Node of our name (any more).
    NodeGone,
    /// A pod on this node, the first time and whenever it differs.
    PodSeen(Box<PodSeen>),
    /// The server has forgotten a pod that was seen.
    PodGone {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The mark of that very pod.
        uid: String,
    },
    /// The cluster cannot be seen: what was seen may have changed. Tries go on.
    Lost(ClusterError),
    /// It can, for the first time or again; all that there is has been told before this.
    Back,
}

/// Between two tries after a loss.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// For so long a server keeps a watch before it ends it in peace.
const WATCH_SECONDS: u64 = 3000;

/// A server sends a bookmark about every minute; one that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_mins(4);

/// A watch that ended sooner than this was no watch, and is not taken up again at once.
const WATCH_MIN: Duration = Duration::from_secs(5);

impl Client {
    /// All that happens to our Node and our pods, from now on and for ever. Nothing is asked before it is polled.
    pub fn watch_own(&self) -> impl Stream<Item = OwnEvent> + Send + use<> {
        let nodes = Watch::<Node>::new(self.clone(), self.nodes_path()).events(0);
        let pods = Watch::<PodSeen>::new(self.clone(), self.pods_path()).events(1);
        let mut sight = Sight::default();
        stream::select(nodes, pods).filter_map(move |(which, step)| {
            std::future::ready(match step {
                Step::Event(event) => Some(event),
                Step::Lost(error) => sight.lost(which, error).map(OwnEvent::Lost),
                Step::Whole => sight.back(which).then_some(OwnEvent::Back),
            })
        })
    }
}

/// What the watches together can see.
#[derive(Debug, Default)]
struct Sight {
    whole: [bool; 2],
    /// The reason that was said last, until everything is seen again.
    said: Option<&'static str>,
}

impl Sight {
    /// Whether this has to be said.
    fn lost(&mut self, which: usize, error: ClusterError) -> Option<ClusterError> {
        self.whole[which] = false;
        let first = self.said.is_none();
        let news = !error.is_passing() && self.said != Some(error.reason());
        (first || news).then(|| {
            self.said = Some(error.reason());
            error
        })
    }

    /// Whether everything is seen again.
    fn back(&mut self, which: usize) -> bool {
        self.whole[which] = true;
        let all = self.whole == [true; 2];
        if all {
            self.said = None;
        }
        all
    }
}

/// One step of one watch.
#[derive(Debug)]
enum Step {
    Event(OwnEvent),
    Lost(ClusterError),
    /// Everything was told and the watch runs. Not said when a watch is merely taken up again.
    Whole,
}

enum Stage {
    List,
    Open,
    Reading { lines: Box<Lines>, since: Instant },
    Resting(Duration),
}

struct Watch<T> {
    client: Client,
    path: String,
    known: HashMap<String, T>,
    version: String,
    stage: Stage,
    queue: VecDeque<Step>,
    backoff: Backoff,
    whole: bool,
}

/// How an object that is seen or gone is told.
trait Told: Object {
    fn seen(self) -> OwnEvent;
    fn gone(&self) -> OwnEvent;
    /// What is told of a list that has nothing in it.
    fn none() -> Option<OwnEvent>;
}

impl Told for Node {
    fn seen(self) -> OwnEvent {
        OwnEvent::NodeSeen(Box::new(self))
    }

    fn gone(&self) -> OwnEvent {
        OwnEvent::NodeGone
    }

    fn none() -> Option<OwnEvent> {
        Some(OwnEvent::NodeGone)
    }
}

impl Told for PodSeen {
    fn seen(self) -> OwnEvent {
        OwnEvent::PodSeen(Box::new(self))
    }

    fn gone(&self) -> OwnEvent {
        let Self { namespace, name, uid, .. } = self.clone();
        OwnEvent::PodGone { namespace, name, uid }
    }

    fn none() -> Option<OwnEvent> {
        None
    }
}

#[derive(Deserialize)]
struct List<R> {
    #[serde(default)]
    metadata: Metadata,
    items: Option<Vec<R>>,
}

/// A line of a watch, read twice: first what it is, then, if it is one of ours, the object.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    object: HeadObject,
}

#[derive(Deserialize)]
struct HeadObject {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Body<R> {
    object: R,
}

impl<T: Told + Send + 'static> Watch<T>
where
    T::Raw: Send,
{
    fn new(client: Client, path: String) -> Self {
        Self {
            client,
            path,
            known: HashMap::new(),
            version: String::new(),
            stage: Stage::List,
            queue: VecDeque::new(),
            backoff: Backoff::new(RETRY_FIRST, RETRY_MAX),
            whole: false,
        }
    }

    fn events(self, which: usize) -> impl Stream<Item = (usize, Step)> + Send {
        stream::unfold(self, move |mut watch| {
            async move {
                let step = watch.next().await;
                Some(((which, step), watch))
            }
            .boxed()
        })
    }

    async fn next(&mut self) -> Step {
        loop {
            if let Some(step) = self.queue.pop_front() {
                return step;
            }
            let Err(error) = self.advance().await else { continue };
            if error.is_passing() && self.has_read_long() {
                // A connection that broke is no loss before another could not be had.
                self.stage = Stage::Open;
                continue;
            }
            self.stage = Stage::Resting(self.backoff.next(random()));
            if is_too_old(&error) {
                continue;
            }
            self.whole = false;
            return Step::Lost(error);
        }
    }

    fn has_read_long(&self) -> bool {
        matches!(self.stage, Stage::Reading { since, .. } if since.elapsed() >= WATCH_MIN)
    }

    async fn advance(&mut self) -> Result<(), ClusterError> {
        match &mut self.stage {
            Stage::Resting(delay) => {
                tokio::time::sleep(*delay).await;
                self.stage = Stage::List;
            }
            Stage::List => {
                self.list().await?;
                self.stage = Stage::Open;
            }
            Stage::Open => {
                let lines = Box::new(self.open().await?);
                self.stage = Stage::Reading { lines, since: Instant::now() };
                if !self.whole {
                    self.whole = true;
                    self.queue.push_back(Step::Whole);
                }
            }
            Stage::Reading { lines, since } => match lines.next().await? {
                Some(line) => self.take(&line)?,
                None if since.elapsed() < WATCH_MIN => {
                    self.stage = Stage::Resting(self.backoff.next(random()));
                }
                None => {
                    self.backoff.reset();
                    self.stage = Stage::Open;
                }
            },
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<(), ClusterError> {
        let server = self.client.server();
        let answer =
            https::call(server, self.client.config()?, Ask::get(self.path.as_str()), LIST_MAX).await?;
        let list: List<T::Raw> = answer.object(server, "list what is its own", &self.client.shown())?;
        self.version = list.metadata.resource_version;
        let mut before = std::mem::take(&mut self.known);
        let items = list.items.unwrap_or_default();
        if items.is_empty() && before.is_empty() && !self.whole {
            self.queue.extend(T::none().map(Step::Event));
        }
        for raw in items {
            let (uid, object) = T::read(raw);
            if before.remove(&uid).as_ref() != Some(&object) {
                self.queue.push_back(Step::Event(object.clone().seen()));
            }
            self.known.insert(uid, object);
        }
        // First what is gone: another of the same name may be there already.
        for object in before.values() {
            self.queue.push_front(Step::Event(object.gone()));
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<Lines, ClusterError> {
        let server = self.client.server().clone();
        let path = format!(
            "{}&watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}",
            self.path, self.version
        );
        let config = self.client.config()?;
        let stream = https::within(&server, CALL_MAX, async {
            https::connect(&server, config).await?.send(Ask::get(path)).await
        })
        .await?;
        if stream.status().is_success() {
            return Ok(Lines { client: self.client.clone(), stream, buffer: Vec::new() });
        }
        let answer = https::within(&server, CALL_MAX, stream.whole(LIST_MAX)).await?;
        answer.check(&server, "watch what is its own", &self.client.shown())?;
        Err(ClusterError::BadAnswer { server, why: "it gives no watch".to_owned() })
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ClusterError> {
        let server = self.client.server();
        let bad = |error: serde_json::Error| ClusterError::BadAnswer {
            server: server.clone(),
            why: format!("a line of a watch is not understood ({error})"),
        };
        let head: Head = serde_json::from_slice(line).map_err(bad)?;
        debug!("woke: {} on the watch of {}", head.kind, self.path);
        match head.kind.as_str() {
            "ADDED" | "MODIFIED" => {
                let body: Body<T::Raw> = serde_json::from_slice(line).map_err(bad)?;
                let (uid, object) = T::read(body.object);
                if self.known.get(&uid) != Some(&object) {
                    self.queue.push_back(Step::Event(object.clone().seen()));
                    self.known.insert(uid, object);
                }
            }
            "DELETED" => {
                let body: Body<T::Raw> = serde_json::from_slice(line).map_err(bad)?;
                let (uid, object) = T::read(body.object);
                if self.known.remove(&uid).is_some() {
                    self.queue.push_back(Step::Event(object.gone()));
                }
            }
            "BOOKMARK" => {}
            _ => {
                return Err(ClusterError::Refused {
                    server: server.clone(),
                    doing: "watch what is its own".to_owned(),
                    status: head.object.code,
                    message: crate::error::one_line(&head.object.message),
                });
            }
        }
        // A watch that brings something works.
        self.backoff.reset();
        self.version = head.object.metadata.resource_version;
        Ok(())
    }
}

/// What we know is too old for the server to go on from. It is listed anew, and nothing was lost.
fn is_too_old(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Refused { status: 410, .. })
}

/// The lines of a watch.
struct Lines {
    client: Client,
    stream: https::Stream,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line; none when the server has ended the watch.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ClusterError> {
        let server = self.client.server();
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + end + 1);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.buffer.len() > LIST_MAX {
                return Err(ClusterError::AnswerTooLarge { server: server.clone(), max: LIST_MAX });
            }
            searched = self.buffer.len();
            let Some(piece) = https::within(server, SILENCE_MAX, self.stream.piece()).await? else {
                return Ok(None);
            };
            self.buffer.extend_from_slice(&piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ServerAddress;

    fn away() -> ClusterError {
        let server = ServerAddress::new("10.0.0.5", 6443).unwrap();
        ClusterError::TimedOut { server, after: Duration::from_secs(10) }
    }

    fn refused() -> ClusterError {
        let server = ServerAddress::new("10.0.0.5", 6443).unwrap();
        ClusterError::Unauthorized { server, what: "the certificate".to_owned() }
    }

    #[test]
    fn a_loss_is_said_once_whatever_both_watches_try_for_months() {
        let mut sight = Sight::default();
        assert!(!sight.back(0) && sight.back(1), "back is said when everything is seen");
        assert!(sight.lost(0, away()).is_some());
        for _ in 0..1000 {
            assert!(sight.lost(0, away()).is_none() && sight.lost(1, away()).is_none());
        }
        assert!(!sight.back(1) && sight.back(0));
        assert!(sight.lost(1, away()).is_some(), "the next loss is another one");
    }

    #[test]
    fn what_will_not_pass_by_itself_is_said_besides_but_not_again_and_again() {
        let mut sight = Sight::default();
        assert!(sight.lost(0, away()).is_some());
        assert!(sight.lost(0, refused()).is_some());
        for _ in 0..1000 {
            assert!(sight.lost(1, refused()).is_none() && sight.lost(0, away()).is_none());
        }
    }
}
