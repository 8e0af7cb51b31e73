//! What SONiC's event log makes of our log lines. Debian's rsyslogd reads the configuration that the package installs, and
//! the lines that it hands to SONiC's plug-in are read by that one's rule.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use regex::Regex;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};
use switchyard_agent::moved_words;
use switchyard_core::{AsicId, CurrentOwner, FeatureName, Instance, Reason};

const CONFIGURATION: &str = include_str!("../../../packaging/events/switchyard_events.conf");
const RULES: &str = include_str!("../../../packaging/events/switchyard_regex.json");
const PLUGIN: &str = "/usr/bin/rsyslog_plugin";
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/yang/sonic-events-switchyard.yang");
/// Longer than anything here takes, shorter than patience.
const SOON: Duration = Duration::from_secs(30);

/// What the plug-in looks for ahead of each rule, from the beginning of a line on: month, day and time, as far as they are
/// there.
const STAMP: &str = r"^([a-zA-Z]{3})?\s*([0-9]{1,2})?\s*([0-9]{2}:[0-9]{2}:[0-9]{2}.[0-9]{0,6})?\s*";

type Params = BTreeMap<String, String>;

/// The event that a line is to the plug-in: the first rule that finds as many groups as it has names for, three of them
/// the stamp's.
fn event(line: &str) -> Option<(String, Params)> {
    let rules: Vec<Value> = serde_json::from_str(RULES).unwrap();
    rules.iter().find_map(|rule| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names: Vec<_> = rule["params"].as_array().unwrap().iter().map(text).collect();
        let found = Regex::new(&(STAMP.to_owned() + &text(&rule["regex"]))).unwrap();
        let found = found.captures(line).filter(|found| found.len() == names.len() + 4)?;
        let values =
            found.iter().skip(4).map(|group| group.map_or_else(String::new, |one| one.as_str().to_owned()));
        Some((text(&rule["tag"]), names.into_iter().zip(values).collect()))
    })
}

/// A line of ours and the event that must come of it.
struct Case {
    line: String,
    expected: Params,
}

fn case(name: &str, asic: Option<u8>, fell_back: bool, way: [CurrentOwner; 2], why: &str) -> Case {
    let instance = Instance { feature: FeatureName::parse(name).unwrap(), asic: asic.map(AsicId) };
    let [from, to] = way;
    let params = [
        ("feature", instance.to_string()),
        ("from", from.to_string()),
        ("to", to.to_string()),
        ("reason", why.to_owned()),
    ];
    Case {
        line: moved_words(&instance, fell_back, from, to, why),
        expected: params.map(|(key, value)| (key.to_owned(), value)).into(),
    }
}

fn cases() -> Vec<Case> {
    let (home, away) = ([CurrentOwner::Kube, CurrentOwner::Local], [CurrentOwner::Local, CurrentOwner::Kube]);
    let whys = [
        Reason::PodKnocks,
        Reason::PodNeverCame,
        Reason::PodNotReady,
        Reason::PodGone,
        Reason::Leaving,
        Reason::OwnerChangedToLocal,
        Reason::ServerAway,
        Reason::NoPodYet,
        Reason::FailedLately,
        Reason::Blocked,
    ];
    let mut cases = Vec::new();
    // Of names with three letters and more, the plug-in may take the first three for a month.
    for name in ["bgp", "snmp", "dhcp_relay", "mgmt-framework", "p4rt", "May", "x"] {
        for (number, why) in whys.iter().enumerate() {
            cases.push(case(name, None, number % 2 == 0, home, &why.to_string()));
            cases.push(case(name, Some(7), false, away, &why.to_string()));
        }
        cases.push(case(name, None, false, away, ""));
    }
    cases
}

struct Rsyslog {
    process: Child,
    log: UnixDatagram,
    handed: Receiver<String>,
}

impl Rsyslog {
    /// One that reads our configuration as it is installed, where SONiC's own has loaded the same module before. In the
    /// plug-in's place is one that tells what it is handed.
    fn start(root: &Path) -> Self {
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        mkfifoat(CWD, path("handed"), Mode::RWXU).unwrap();
        let plugin = format!("#!/bin/sh\necho \"$@\" > {}\nexec cat > {}\n", path("called"), path("handed"));
        fs::write(path("plugin"), plugin).unwrap();
        fs::set_permissions(path("plugin"), Permissions::from_mode(0o755)).unwrap();
        let configuration = format!(
            "$ModLoad omprog\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{}\")\n{}",
            path("log"),
            CONFIGURATION.replace(PLUGIN, &path("plugin")),
        );
        assert!(CONFIGURATION.contains(PLUGIN), "nobody is handed anything");
        fs::write(path("conf"), configuration).unwrap();
        let process = Command::new("rsyslogd")
            .args(["-n", "-f", &path("conf"), "-i", &path("pid")])
            .spawn()
            .expect("rsyslogd must be installed for this test: apt-get install rsyslog");
        let (sender, handed) = channel();
        let fifo = path("handed");
        std::thread::spawn(move || {
            let lines = BufReader::new(File::open(fifo).unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let (log, begin) = (UnixDatagram::unbound().unwrap(), Instant::now());
        while log.connect(path("log")).is_err() {
            assert!(begin.elapsed() < SOON, "rsyslogd does not come up");
            std::thread::yield_now();
        }
        Self { process, log, handed }
    }

    /// As our programs log (`cli::log`).
    fn log(&self, program: &str, line: &str) {
        let packet = format!("<14>Nov 27 09:45:56 {program}[12]: {line}");
        self.log.send(packet.as_bytes()).unwrap();
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether an event obeys the model that is installed for it.
fn obeys_model(root: &Path, tag: &str, params: &Params) {
    let data = json!({ "sonic-events-switchyard:sonic-events-switchyard": { tag: params } });
    let file = root.join("event.json");
    fs::write(&file, data.to_string()).unwrap();
    let output = Command::new("yanglint")
        .args(["--type", "data", "--format", "json", MODEL])
        .arg(&file)
        .output()
        .expect("yanglint must be installed for this test: apt-get install libyang-tools");
    assert!(output.status.success(), "{data}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_change_of_hands_is_an_event_to_sonics_plug_in_and_nothing_else_is() {
    let root = tempfile::tempdir().unwrap();
    let rsyslog = Rsyslog::start(root.path());
    let cases = cases();
    for Case { line, .. } in &cases {
        rsyslog.log("switchyard", "the pod waits: the local image has the same version feature=snmp");
        rsyslog.log("container", line);
        rsyslog.log("switchyard", line);
    }
    for Case { line, expected } in &cases {
        let next = || rsyslog.handed.recv_timeout(SOON).unwrap_or_else(|_| panic!("not handed on: {line}"));
        assert_eq!(event(&next()), None, "the line before: {line}");
        assert_eq!(event(&next()), Some(("owner-changed".to_owned(), expected.clone())), "{line}");
    }
    let called = fs::read_to_string(root.path().join("called")).unwrap();
    assert_eq!(called.trim(), "-r /etc/rsyslog.d/switchyard_regex.json -m sonic-events-switchyard");
    for Case { expected, .. } in [cases.first(), cases.last()].into_iter().flatten() {
        obeys_model(root.path(), "owner-changed", expected);
    }
}
