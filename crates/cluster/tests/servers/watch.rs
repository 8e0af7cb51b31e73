//! What a switch sees of itself while servers end their watches, go away and come back.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use switchyard_cluster::OwnEvent;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::node::Joined;
use crate::server::{Asked, Authority, Reply, Server};

/// Longer than anything here takes, shorter than patience.
const EVENT_MAX: Duration = Duration::from_secs(30);

/// Between two leaps of the clock real connections have so long to do what they do.
const BUSY: Duration = Duration::from_millis(100);

fn pod(name: &str, phase: &str) -> Value {
    json!({
        "metadata": { "namespace": "sonic", "name": name, "uid": format!("uid-{name}"), "resourceVersion": "7" },
        "status": { "phase": phase },
    })
}

fn line(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string() + "\n"
}

/// What the next pod watches will say; without any they say nothing and stay.
#[derive(Default)]
struct Script {
    pods: Vec<Value>,
    watches: std::collections::VecDeque<Reply>,
    status: Option<u16>,
    nodes: std::collections::VecDeque<Reply>,
}

type Shared = Arc<Mutex<Script>>;

fn answer(script: &Shared, asked: &Asked) -> Reply {
    let mut script = script.lock().unwrap();
    if let Some(status) = script.status {
        return Reply::Json(status, json!({ "kind": "Status", "message": "because" }).to_string());
    }
    let (is_watch, is_pods) = (asked.line().contains("watch=1"), asked.line().contains("/pods?"));
    match (is_watch, is_pods) {
        (false, true) => {
            let list = json!({ "metadata": { "resourceVersion": "5" }, "items": script.pods });
            Reply::Json(200, list.to_string())
        }
        (false, false) => {
            let node = json!({ "metadata": { "uid": "n1", "name": "switch1" } });
            Reply::Json(200, json!({ "metadata": { "resourceVersion": "5" }, "items": [node] }).to_string())
        }
        (true, true) => script.watches.pop_front().unwrap_or_else(still),
        (true, false) => script.nodes.pop_front().unwrap_or_else(still),
    }
}

/// A watch that says nothing and stays.
fn still() -> Reply {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::mem::forget(sender);
    Reply::Lines(receiver)
}

fn lines(told: &[String]) -> (UnboundedSender<String>, UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    for line in told {
        sender.send(line.clone()).unwrap();
    }
    (sender, receiver)
}

struct Story {
    server: Server,
    script: Shared,
    events: Pin<Box<dyn Stream<Item = OwnEvent> + Send>>,
    _joined: Joined,
}

impl Story {
    async fn of(script: Script) -> Self {
        let (authority, script) = (Authority::new(), Arc::new(Mutex::new(script)));
        let shared = script.clone();
        let server =
            Server::tls(&authority.for_loopback(), Some(&authority), move |asked| answer(&shared, asked))
                .await;
        let joined = Joined::to(&server.address, &authority);
        Self { server, script, events: joined.client.watch_own().boxed(), _joined: joined }
    }

    /// The next event in few words.
    async fn next(&mut self) -> String {
        let event = tokio::time::timeout(EVENT_MAX, self.events.next()).await;
        words(&event.expect("no event came").unwrap())
    }

    /// The next event, however many minutes it takes.
    async fn next_after_a_rest(&mut self) -> String {
        for _ in 0..100 {
            if let Ok(event) = tokio::time::timeout(BUSY, self.events.next()).await {
                return words(&event.unwrap());
            }
            pass(Duration::from_mins(1)).await;
        }
        panic!("no event came")
    }

    /// So many events, in any order: the two watches know nothing of each other.
    async fn next_sorted(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.next().await);
        }
        events.sort();
        events
    }

    fn pod_watches(&self) -> usize {
        let asked = self.server.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.line().contains("/pods?") && asked.line().contains("watch=1"))
            .count()
    }
}

fn words(event: &OwnEvent) -> String {
    match event {
        OwnEvent::NodeSeen(_) => "node".to_owned(),
        OwnEvent::NodeGone => "no node".to_owned(),
        OwnEvent::PodSeen(pod) => format!("{} {}", pod.name, pod.phase),
        OwnEvent::PodGone { name, .. } => format!("{name} gone"),
        OwnEvent::Lost(error) => format!("lost {}", error.reason()),
        OwnEvent::Back => "back".to_owned(),
    }
}

/// Lets so much time pass at once. Real connections do not go on while the clock stands, so it stands for no longer.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn what_there_is_is_told_first_and_then_what_changes() {
    let (sender, receiver) = lines(&[]);
    let watches = [Reply::Lines(receiver)].into();
    let mut story = Story::of(Script { pods: vec![pod("a", "Pending")], watches, ..Script::default() }).await;
    let mut first = Vec::new();
    while first.last().map(String::as_str) != Some("back") {
        first.push(story.next().await);
    }
    first.sort();
    assert_eq!(first, ["a Pending", "back", "node"]);
    let tell = |kind: &str, object: &Value| sender.send(line(kind, object)).unwrap();
    tell("MODIFIED", &pod("a", "Pending"));
    tell("BOOKMARK", &json!({ "metadata": { "resourceVersion": "9" } }));
    tell("MODIFIED", &pod("a", "Running"));
    tell("ADDED", &pod("b", "Pending"));
    tell("DELETED", &pod("a", "Running"));
    for expected in ["a Running", "b Pending", "a gone"] {
        assert_eq!(story.next().await, expected, "what is the same as before is not told");
    }
    let watch = story.server.asked.lock().unwrap();
    let watch = watch
        .iter()
        .find(|asked| asked.line().contains("/pods?") && asked.line().contains("watch=1"))
        .unwrap();
    for wanted in ["spec.nodeName%3Dswitch1", "resourceVersion=5", "allowWatchBookmarks=true"] {
        assert!(watch.line().contains(wanted), "{}", watch.line());
    }
}

#[tokio::test]
async fn a_watch_that_is_too_old_is_begun_anew_without_a_word() {
    let too_old = json!({ "kind": "Status", "code": 410, "message": "too old resource version" });
    let (_sender, receiver) = lines(&[line("ERROR", &too_old)]);
    let (second, after) = lines(&[]);
    let watches = [Reply::Lines(receiver), Reply::Lines(after)].into();
    let mut story = Story::of(Script { pods: vec![pod("a", "Running")], watches, ..Script::default() }).await;
    assert_eq!(story.next_sorted(3).await, ["a Running", "back", "node"]);
    // Meanwhile one has gone and another has come.
    story.script.lock().unwrap().pods = vec![pod("b", "Running")];
    assert_eq!([story.next().await, story.next().await], ["a gone", "b Running"]);
    second.send(line("DELETED", &pod("b", "Running"))).unwrap();
    assert_eq!(story.next().await, "b gone");
    assert_eq!(story.pod_watches(), 2);
}

/// FIELD.md defect 5: a server that died after the join stayed "connected".
#[tokio::test]
async fn a_server_that_refuses_is_a_loss_told_once_and_back_is_told_too() {
    let (sender, receiver) = lines(&[]);
    let watches = [Reply::Lines(receiver)].into();
    let mut story = Story::of(Script { pods: vec![pod("a", "Running")], watches, ..Script::default() }).await;
    assert_eq!(story.next_sorted(3).await, ["a Running", "back", "node"]);
    story.script.lock().unwrap().status = Some(503);
    drop(sender);
    assert_eq!(story.next().await, "lost ServerRefused");
    let before = story.server.asked.lock().unwrap().len();
    for minute in 0..30 {
        let event = tokio::time::timeout(BUSY, story.events.next()).await;
        assert!(event.is_err(), "a loss is told once, and in minute {minute} this was told too: {event:?}");
        pass(Duration::from_mins(1)).await;
    }
    let tries = story.server.asked.lock().unwrap().len() - before;
    assert!((10..=120).contains(&tries), "{tries} tries in half an hour");
    story.script.lock().unwrap().status = None;
    story.script.lock().unwrap().pods = vec![pod("a", "Failed")];
    assert_eq!([story.next_after_a_rest().await, story.next_after_a_rest().await], ["a Failed", "back"]);
}

#[tokio::test]
async fn watches_that_end_or_break_are_taken_up_again_without_a_word() {
    let (first, ends) = lines(&[line("ADDED", &pod("a", "Pending"))]);
    let (second, breaks) = lines(&[line("MODIFIED", &pod("a", "Running"))]);
    let (_third, stays) = lines(&[line("MODIFIED", &pod("a", "Succeeded"))]);
    let watches = [Reply::Lines(ends), Reply::Broken(breaks), Reply::Lines(stays)].into();
    let mut story = Story::of(Script { pods: vec![], watches, ..Script::default() }).await;
    assert_eq!(story.next_sorted(3).await, ["a Pending", "back", "node"]);
    for (sender, next) in [(first, "a Running"), (second, "a Succeeded")] {
        // As long as it takes to be a watch at all.
        pass(Duration::from_secs(6)).await;
        drop(sender);
        assert_eq!(story.next().await, next);
    }
    assert_eq!(story.pod_watches(), 3);
}

#[tokio::test]
async fn a_line_without_an_end_is_given_up() {
    let (_sender, receiver) = lines(&vec![" ".repeat(1 << 20); 18]);
    let watches = [Reply::Lines(receiver)].into();
    let mut story = Story::of(Script { pods: vec![], watches, ..Script::default() }).await;
    let mut seen = story.next().await;
    while seen == "node" || seen == "back" {
        seen = story.next().await;
    }
    assert_eq!(seen, "lost AnswerTooLarge");
}

/// FIELD.md defect 5: a server that died after the join stayed "connected".
#[tokio::test]
async fn a_watch_on_which_nothing_comes_for_minutes_is_taken_up_anew() {
    let (_hangs, silent) = lines(&[line("ADDED", &pod("a", "Pending"))]);
    let (_sender, next) = lines(&[line("MODIFIED", &pod("a", "Running"))]);
    let watches = [Reply::Lines(silent), Reply::Lines(next)].into();
    let mut story = Story::of(Script { pods: vec![], watches, ..Script::default() }).await;
    assert_eq!(story.next_sorted(3).await, ["a Pending", "back", "node"]);
    assert!(tokio::time::timeout(BUSY, story.events.next()).await.is_err(), "it says nothing");
    // At once, and no more: a busy machine must not lose the minutes in which it takes the watch up.
    pass(Duration::from_mins(5)).await;
    assert_eq!(story.next().await, "a Running");
}

#[tokio::test]
async fn each_heartbeat_of_the_kubelet_is_told() {
    let ready = |heartbeat: &str| {
        json!({
            "metadata": { "uid": "n1", "name": "switch1" },
            "status": { "conditions": [
                { "type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": heartbeat },
            ] },
        })
    };
    let said = ["2026-01-01T12:00:00Z", "2026-01-01T12:05:00Z"];
    let (_sender, receiver) = lines(&said.map(|heartbeat| line("MODIFIED", &ready(heartbeat))));
    let nodes = [Reply::Lines(receiver)].into();
    let mut story = Story::of(Script { nodes, ..Script::default() }).await;
    let mut heartbeats = Vec::new();
    while heartbeats.len() < said.len() {
        let event = tokio::time::timeout(EVENT_MAX, story.events.next()).await.expect("no event came");
        if let Some(OwnEvent::NodeSeen(node)) = event {
            heartbeats.extend(node.heartbeat.map(|at| at.to_string()));
        }
    }
    assert_eq!(heartbeats, said, "whether it is of the kubelet that runs is asked of the last one");
}
