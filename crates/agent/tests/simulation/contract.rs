//! The rows of the simulation are held to the real ones: the same random changes go to both, a redis-server with the
//! product's own script on one side, and after each the answers and the rows must be the same.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use switchyard_core::{
    ContainerId, CurrentOwner, FeatureState, Instance, OnlyIf, RemoteState, RowChange, SystemState, Version,
};
use switchyard_sonic::{Paths, Switch};

use crate::birth::{self, Kind};
use crate::chance::Chance;
use crate::lies::Lie;
use crate::sim::{Channel, Sim};

/// A server is there within this time, even on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(20);
const CHANGES: usize = 3000;

struct Redis(Child);

impl Redis {
    /// A redis-server below this directory, and the switch whose only one it is.
    fn start(root: &Path) -> (Self, Switch) {
        let run = root.join("var/run/redis");
        fs::create_dir_all(run.join("sonic-db")).unwrap();
        let socket = run.join("redis.sock");
        let config = json!({
            "INSTANCES": {"redis": {"hostname": "127.0.0.1", "unix_socket_path": socket}},
            "DATABASES": {
                "CONFIG_DB": {"id": 4, "separator": "|", "instance": "redis"},
                "STATE_DB": {"id": 6, "separator": "|", "instance": "redis"},
            },
            "VERSION": "1.0",
        });
        fs::write(run.join("sonic-db/database_config.json"), config.to_string()).unwrap();
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(root)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed for this test: apt-get install redis-server");
        let server = Self(process);
        let begin = Instant::now();
        loop {
            let answer = Switch::open(Paths::below(root))
                .and_then(|mut switch| switch.config_initialized().map(|_| switch));
            match answer {
                Ok(switch) => return (server, switch),
                Err(error) => {
                    assert!(begin.elapsed() < START_TIME_MAX, "redis-server does not come up: {error}");
                    std::thread::yield_now();
                }
            }
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn some<T>(chance: &mut Chance, value: T) -> Option<T> {
    chance.percent(40).then_some(value)
}

fn any_change(chance: &mut Chance, row: &FeatureState, instance: &Instance) -> RowChange {
    let remote = [
        RemoteState::None,
        RemoteState::Pending,
        RemoteState::Ready,
        RemoteState::Running,
        RemoteState::Stopped,
    ];
    let owners = [CurrentOwner::Local, CurrentOwner::Kube, CurrentOwner::None];
    let wishes = [SystemState::Up, SystemState::Down];
    let mut id = |name: bool| match chance.below(3) {
        0 if name => ContainerId::parse(&instance.container_name()).unwrap(),
        number => ContainerId::parse(&format!("{number:012x}")).unwrap(),
    };
    let (own, asker) = (id(true), id(false));
    let version = |chance: &mut Chance| Version::parse(&format!("{}.0", chance.below(4))).unwrap();
    let versions = [version(chance), version(chance), version(chance)];
    let [running, stable, last] = versions.map(|version| some(chance, version));
    let seen = match chance.below(4) {
        0 => None,
        // What somebody else saw, who may be late in one point.
        1 => OnlyIf::unchanged(row).map(|seen| OnlyIf {
            remote_state: chance.pick(&remote),
            system_state: chance.pick(&[None, Some(SystemState::Up), seen.system_state]),
            current_owner: chance.pick(&[seen.current_owner, CurrentOwner::None]),
            container_id: seen.container_id.filter(|_| chance.percent(75)),
            ..seen
        }),
        _ => OnlyIf::unchanged(row),
    };
    let wish = chance.pick(&wishes);
    let owner = chance.pick(&owners);
    let state = chance.pick(&remote);
    let cleared = chance.percent(50);
    RowChange {
        system_state: some(chance, wish),
        current_owner: some(chance, owner),
        container_id: some(chance, (!cleared).then_some(own)),
        container_version: running,
        stable_version: stable,
        last_version: last,
        remote_state: some(chance, state),
        remote_container_id: some(chance, asker),
        only_if: seen,
    }
}

/// What is compared: whenever a row was written, it says the same.
fn timeless(row: FeatureState) -> FeatureState {
    FeatureState { update_time: None, owner_since: None, ..row }
}

#[test]
fn rows_are_compared_and_written_as_redis_does() {
    let root = tempfile::tempdir().unwrap();
    let (server, mut switch) = Redis::start(root.path());
    let sim = Sim::new(birth::state(1, Kind { lie: Lie::None, telling: false }));
    let mut chance = Chance::new(1);
    let instance = sim.with(|state| state.all[0].name.clone());
    let (mut written, mut refused) = (0, 0);
    for number in 0..CHANGES {
        let row = sim.with(|state| state.all[0].row.clone());
        let wanted = any_change(&mut chance, &row, &instance);
        let told = sim.seen(Channel::Instance(0));
        let ours = sim.with(|state| state.write(0, &wanted, "contract"));
        let theirs = switch.write_state(&instance, &wanted).unwrap();
        assert_eq!(ours, theirs, "change {number}: {wanted:?}\nof {row:?}");
        let ours = sim.with(|state| state.all[0].row.clone());
        let theirs = switch.feature_state(&instance).unwrap().unwrap_or_default();
        assert_eq!(timeless(ours), timeless(theirs), "change {number}: {wanted:?}\nof {row:?}");
        if theirs_writes(&wanted) && sim.seen(Channel::Instance(0)) > told {
            written += 1;
        } else {
            refused += 1;
        }
    }
    assert!(written > CHANGES / 10 && refused > CHANGES / 10, "{written} written, {refused} refused");
    drop(server);
}

fn theirs_writes(change: &RowChange) -> bool {
    *change != (RowChange { only_if: change.only_if.clone(), ..RowChange::default() })
}
