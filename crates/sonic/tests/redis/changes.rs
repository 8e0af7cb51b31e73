//! Keyspace events: what wakes a listener, what does not, and how it hears that a server is gone.

use std::time::Duration;

use switchyard_core::{CurrentOwner, RowChange};
use switchyard_sonic::{Changed, Changes, Db, SonicError};
use tokio::{runtime::Runtime, time::timeout};

use crate::support::{Fixture, Server, bgp, name, snmp};

/// An event on a Unix socket takes microseconds; this is for a busy machine.
const SOON: Duration = Duration::from_secs(10);
/// So long nothing may come where nothing is expected; a wrong event would be there within microseconds.
const QUIET: Duration = Duration::from_millis(150);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn hears(changes: &mut Changes) -> bool {
    match timeout(SOON, changes.next()).await {
        Ok(event) => event.map(|()| true).unwrap(),
        Err(_) => false,
    }
}

async fn is_quiet(changes: &mut Changes) -> bool {
    timeout(QUIET, changes.next()).await.is_err()
}

#[test]
fn every_row_on_which_a_decision_may_rest_wakes_the_listener() {
    let fixture = Fixture::new();
    let (mut state, mut config) = (fixture.db("STATE_DB"), fixture.db("CONFIG_DB"));
    let mut raw = fixture.host.raw();
    redis::cmd("SELECT").arg(4).exec(&mut raw).unwrap();
    let mut switch = fixture.open();
    runtime().block_on(async {
        let mut changes = switch.changes(&snmp()).await.unwrap();
        assert!(is_quiet(&mut changes).await);

        state.set("FEATURE", "snmp", &[("remote_state", "pending")]).unwrap();
        assert!(hears(&mut changes).await, "record");
        state.delete_fields("FEATURE", "snmp", &["remote_state"]).unwrap();
        assert!(hears(&mut changes).await, "last field deleted");
        let change = RowChange { current_owner: Some(CurrentOwner::Kube), ..RowChange::default() };
        switch.write_state(&snmp(), &change).unwrap();
        assert!(hears(&mut changes).await, "our own write");
        config.set("FEATURE", "snmp", &[("set_owner", "kube")]).unwrap();
        assert!(hears(&mut changes).await, "configuration");
        config.delete_row("FEATURE", "snmp").unwrap();
        assert!(hears(&mut changes).await, "configuration deleted");
        state.set("KUBERNETES_MASTER", "SERVER", &[("connected", "false")]).unwrap();
        assert!(hears(&mut changes).await, "server");
        redis::cmd("SET").arg("CONFIG_DB_INITIALIZED").arg("1").exec(&mut raw).unwrap();
        assert!(hears(&mut changes).await, "configuration loaded");

        state.set("FEATURE", "snmp2", &[("a", "1")]).unwrap();
        state.set("FEATURE", "bgp", &[("a", "1")]).unwrap();
        config.set("OTHER", "snmp", &[("a", "1")]).unwrap();
        config.set("KUBERNETES_MASTER", "SERVER", &[("ip", "10.0.0.1")]).unwrap();
        assert!(is_quiet(&mut changes).await, "rows of others");
    });
}

#[test]
fn the_daemon_hears_what_each_change_is_about() {
    let fixture = Fixture::new();
    let (mut state, mut config) = (fixture.db("STATE_DB"), fixture.db("CONFIG_DB"));
    let switch = fixture.open();
    runtime().block_on(async {
        let mut watch = switch.watch().await.unwrap();
        let mut next = async || {
            let told = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
            told.expect("nothing was told").unwrap().into_iter().collect::<Vec<_>>()
        };
        state.set("FEATURE", "snmp", &[("remote_state", "pending")]).unwrap();
        assert_eq!(next().await, [Changed::State(snmp().feature, None)]);
        config.set("OTHER", "snmp", &[("a", "1")]).unwrap();
        config.set("FEATURE", "snmp", &[("set_owner", "kube")]).unwrap();
        assert_eq!(next().await, [Changed::Config(snmp().feature)]);
        config.set("KUBERNETES_MASTER", "SERVER", &[("ip", "10.0.0.1")]).unwrap();
        assert_eq!(next().await, [Changed::Server]);
        state.set("KUBE_LABELS", "SET", &[("a", "b")]).unwrap();
        assert_eq!(next().await, [Changed::Labels]);
        state.set("WARM_RESTART_ENABLE_TABLE", "system", &[("enable", "true")]).unwrap();
        assert_eq!(next().await, [Changed::Reboot]);
    });
}

#[test]
fn events_that_came_together_are_one_change() {
    let fixture = Fixture::new();
    let mut state = fixture.db("STATE_DB");
    runtime().block_on(async {
        let mut changes = fixture.open().changes(&snmp()).await.unwrap();
        for number in 0..500 {
            state.set("FEATURE", "snmp", &[("a", &number.to_string())]).unwrap();
        }
        let mut wakeups = 0;
        while timeout(QUIET, changes.next()).await.is_ok() {
            wakeups += 1;
        }
        assert!((1..=50).contains(&wakeups), "{wakeups} wake-ups for 500 writes");
    });
}

#[test]
fn the_server_has_confirmed_when_subscribing_returns() {
    let fixture = Fixture::new();
    runtime().block_on(async {
        let _changes = fixture.open().changes(&snmp()).await.unwrap();
        let channels = ["__keyspace@6__:FEATURE|snmp", "__keyspace@4__:FEATURE|snmp"];
        let mut numsub = redis::cmd("PUBSUB");
        let counts: Vec<(String, u32)> =
            numsub.arg("NUMSUB").arg(&channels).query(&mut fixture.host.raw()).unwrap();
        assert_eq!(counts, channels.map(|channel| (channel.to_owned(), 1)));
    });
}

fn events_setting(server: &Server) -> String {
    let mut config = redis::cmd("CONFIG");
    let (_, mut flags): (String, Vec<char>) = config
        .arg("GET")
        .arg("notify-keyspace-events")
        .query::<(String, String)>(&mut server.raw())
        .map(|(name, flags)| (name, flags.chars().collect()))
        .unwrap();
    flags.sort_unstable();
    flags.into_iter().collect()
}

#[test]
fn a_server_that_announces_nothing_is_told_to() {
    let fixture = Fixture::new();
    let set = |flags: &str| {
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg("notify-keyspace-events").arg(flags).exec(&mut fixture.host.raw()).unwrap();
    };
    let subscribe = || runtime().block_on(async { fixture.open().changes(&snmp()).await.map(drop).unwrap() });
    // Keyspace events without a class, key misses that somebody else listens to, and all that is needed.
    for (before, after) in [("", "AEK"), ("K", "AEK"), ("Km", "AEKm"), ("KA", "AK"), ("AKE", "AEK")] {
        set(before);
        subscribe();
        assert_eq!(events_setting(&fixture.host), after, "from {before:?}");
    }
}

#[test]
fn an_asics_listener_hears_its_own_namespace_and_the_hosts_configuration() {
    let fixture = Fixture::with_asics(2);
    let state_of = |asic: usize| Db::open(&fixture.asics[asic].address(6)).unwrap();
    runtime().block_on(async {
        let mut changes = fixture.open().changes(&bgp(1)).await.unwrap();
        state_of(1).set("FEATURE", "bgp", &[("a", "1")]).unwrap();
        assert!(hears(&mut changes).await, "own record");
        fixture.db("CONFIG_DB").set("FEATURE", "bgp", &[("a", "1")]).unwrap();
        assert!(hears(&mut changes).await, "configuration");
        state_of(0).set("FEATURE", "bgp", &[("a", "1")]).unwrap();
        fixture.db("STATE_DB").set("FEATURE", "bgp", &[("a", "1")]).unwrap();
        assert!(is_quiet(&mut changes).await, "another instance's record");
        assert!(fixture.open().changes(&bgp(2)).await.is_err());
    });
}

#[test]
fn flushed_data_reads_as_absent_and_does_not_end_the_listening() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    let change = RowChange { current_owner: Some(CurrentOwner::Kube), ..RowChange::default() };
    switch.write_state(&snmp(), &change).unwrap();
    runtime().block_on(async {
        let mut changes = switch.changes(&snmp()).await.unwrap();
        redis::cmd("FLUSHALL").exec(&mut fixture.host.raw()).unwrap();
        assert_eq!(switch.feature_state(&snmp()).unwrap(), None);
        assert_eq!(switch.feature_config(&name("snmp")).unwrap(), None);
        assert!(
            is_quiet(&mut changes).await,
            "Redis announces no flush; if it does, the safety check can go"
        );
        switch.write_state(&snmp(), &change).unwrap();
        assert!(hears(&mut changes).await);
    });
}

#[test]
fn the_end_of_any_server_is_told_and_a_new_subscription_hears_again() {
    let mut fixture = Fixture::with_asics(1);
    runtime().block_on(async {
        let mut changes = fixture.open().changes(&bgp(0)).await.unwrap();
        fixture.asics[0].kill();
        let end = timeout(SOON, changes.next()).await.unwrap().unwrap_err();
        assert!(
            matches!(&end, SonicError::ConnectionEnded { address } if address.contains("redis0")),
            "{end}"
        );

        let refused = fixture.open().changes(&bgp(0)).await.err().unwrap();
        assert!(matches!(refused, SonicError::RedisUnreachable { .. }), "{refused}");
        fixture.asics[0].restart();
        let mut changes = fixture.open().changes(&bgp(0)).await.unwrap();
        Db::open(&fixture.asics[0].address(6)).unwrap().set("FEATURE", "bgp", &[("a", "1")]).unwrap();
        assert!(hears(&mut changes).await);
    });
}

#[test]
fn a_server_that_has_only_tcp_is_listened_to() {
    let fixture = Fixture::over_tcp();
    runtime().block_on(async {
        let mut changes = fixture.open().changes(&snmp()).await.unwrap();
        fixture.db("STATE_DB").set("FEATURE", "snmp", &[("a", "1")]).unwrap();
        assert!(hears(&mut changes).await);
    });
}
