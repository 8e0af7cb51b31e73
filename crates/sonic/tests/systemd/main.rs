//! Units, their jobs and their links, played by a real systemd.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may stop at once, too"
)]

mod support;

use std::time::{Duration, Instant};

use support::Systemd;
use switchyard_core::Unit;
use switchyard_sonic::{JobOutcome, SonicError, Units};

const RUNS: &str = "[Service]\nExecStart=/bin/sleep 1000\n";
/// Takes this long to start.
const SLOW: &str = "[Service]\nExecStartPre=/bin/sleep 1\nExecStart=/bin/sleep 1000\n";
const SLOW_START: Duration = Duration::from_secs(1);
/// Long enough for anything that should happen.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_unit_is_started_restarted_and_stopped_and_each_end_is_awaited() {
    let (_systemd, units) = Systemd::with(&[("slow.service", SLOW)]).await;
    let begin = Instant::now();
    assert_eq!(units.start("slow.service").await.unwrap(), JobOutcome::Done);
    assert!(begin.elapsed() >= SLOW_START, "the start was not awaited");
    let first = units.status("slow.service").await.unwrap();
    assert_eq!((first.unit(), first.load_state.as_str()), (Unit::Active, "loaded"));
    assert!(first.main_pid > 0 && first.since > 0 && first.since_monotonic > 0);
    assert_eq!(units.start("slow.service").await.unwrap(), JobOutcome::Done, "it runs already");

    assert_eq!(units.restart("slow.service").await.unwrap(), JobOutcome::Done);
    let second = units.status("slow.service").await.unwrap();
    assert!(second.main_pid != first.main_pid && second.since > first.since);
    assert_eq!(units.stop("slow.service").await.unwrap(), JobOutcome::Done);
    assert_eq!(units.status("slow.service").await.unwrap().unit(), Unit::Off);
}

#[tokio::test]
async fn a_job_that_fails_is_told_by_systemds_word_for_it() {
    let fails = "[Service]\nExecStartPre=/bin/false\nExecStart=/bin/sleep 1000\n";
    let needs = "[Unit]\nRequires=fails.service\nAfter=fails.service\n[Service]\nExecStart=/bin/sleep 1000\n";
    let (_systemd, units) = Systemd::with(&[("fails.service", fails), ("needs.service", needs)]).await;
    assert_eq!(units.start("fails.service").await.unwrap(), JobOutcome::Failed("failed".into()));
    let status = units.status("fails.service").await.unwrap();
    assert_eq!((status.active_state.as_str(), status.result.as_str()), ("failed", "exit-code"));
    assert_eq!(units.start("needs.service").await.unwrap(), JobOutcome::Failed("dependency".into()));
    units.reset_failed("fails.service").await.unwrap();
    assert_eq!(units.status("fails.service").await.unwrap().active_state, "inactive");
}

#[tokio::test]
async fn a_deadline_ends_the_waiting_and_not_the_job() {
    let waits = "[Service]\nExecStartPre=/bin/sh -c 'until [ -e %h/go ]; do sleep 0.1; done'\n\
                 ExecStart=/bin/sleep 1000\n";
    let (systemd, units) = Systemd::with(&[("slow.service", waits)]).await;
    let hasty = units.clone().deadline(Duration::from_millis(100));
    let error = hasty.start("slow.service").await.unwrap_err();
    assert_eq!(error.to_string(), "the job to start slow.service took longer than 100ms");
    assert_eq!(units.status("slow.service").await.unwrap().unit(), Unit::Busy);
    systemd.touch("go");
    assert!(units.wait_active("slow.service", true, SOON).await.unwrap());
}

#[tokio::test]
async fn a_job_that_may_not_be_replaced_means_later() {
    let forever = "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 1000\n";
    let ender = "[Unit]\nConflicts=forever.service\nAfter=forever.service\n";
    let units = [("forever.service", forever), ("ender.target", ender)];
    let (systemd, units) = Systemd::with(&units).await;
    assert_eq!(units.start("forever.service").await.unwrap(), JobOutcome::Done);
    // As at shutdown: a stop that nothing may replace.
    systemd.systemctl(&["start", "--no-block", "--job-mode=replace-irreversibly", "ender.target"]);
    let outcome = units.start("forever.service").await.unwrap();
    assert!(matches!(&outcome, JobOutcome::Refused(why) if why.contains("destructive")), "{outcome:?}");
}

/// At each end of a job that is ordered after it systemd (252) thinks again of a start that has to wait, and counts that
/// against the limit: a restart of snmp in the moment in which swss stopped, and took the others along, left swss down.
#[tokio::test]
async fn what_needs_a_unit_that_is_stopping_is_tried_again_later() {
    let base = "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=1200\n[Service]\nExecStart=/bin/sleep 1000\n\
                ExecStopPost=/bin/sh -c 'until [ -e %h/go ]; do sleep 0.1; done'\nRestart=always\nRestartSec=0.1\n";
    let leans = format!("[Unit]\nRequires=base.service\nAfter=base.service\n{RUNS}");
    let later = format!("[Unit]\nAfter=base.service\n{RUNS}");
    let others = ["a.service", "b.service", "c.service", "d.service"];
    let mut files = vec![("base.service", base), ("leans.service", &leans)];
    files.extend(others.map(|other| (other, later.as_str())));
    let (systemd, units) = Systemd::with(&files).await;
    for unit in others.iter().chain(&["leans.service"]) {
        assert_eq!(units.start(unit).await.unwrap(), JobOutcome::Done);
    }
    let mut changes = units.changes(&["base.service".to_owned()]).await.unwrap();
    systemd.systemctl(&["kill", "base.service"]);
    while units.status("base.service").await.unwrap().unit() != Unit::Busy {
        changes.next().await.unwrap();
    }
    let hasty = units.clone().deadline(Duration::from_secs(1));
    let outcome = hasty.try_restart("leans.service").await;
    assert!(matches!(&outcome, Ok(JobOutcome::Refused(why)) if why.contains("base.service")), "{outcome:?}");
    for other in others {
        assert_eq!(units.stop(other).await.unwrap(), JobOutcome::Done);
    }
    systemd.touch("go");
    assert!(units.wait_active("base.service", true, SOON).await.unwrap(), "it comes back by itself");
    assert_eq!(units.try_restart("leans.service").await.unwrap(), JobOutcome::Done);
}

#[tokio::test]
async fn what_does_not_exist_or_may_not_start_is_named() {
    let (_systemd, units) = Systemd::with(&[("runs.service", RUNS)]).await;
    assert!(!units.status("nothing.service").await.unwrap().exists());
    for error in [units.start("nothing.service").await, units.stop("nothing.service").await] {
        assert!(matches!(error, Err(SonicError::NoSuchUnit { .. })), "{error:?}");
    }
    let error = units.enable("nothing.service").await;
    assert!(matches!(error, Err(SonicError::NoSuchUnit { .. })), "{error:?}");
    let error = units.status("no/name").await.unwrap_err().to_string();
    assert!(error.contains("no/name") && !error.contains("org.freedesktop"), "{error}");
    let error = units.reload("runs.service").await.unwrap_err().to_string();
    assert!(error.contains("not applicable"), "{error}");
    units.reset_failed("nothing.service").await.unwrap();
}

#[tokio::test]
async fn enabling_disabling_and_masking_count_at_once() {
    let file = format!("{RUNS}[Install]\nWantedBy=default.target\n");
    let (_systemd, units) = Systemd::with(&[("f.service", &file)]).await;
    let unit = "f.service";
    units.enable(unit).await.unwrap();
    assert_eq!(units.status(unit).await.unwrap().unit_file_state, "enabled");
    units.disable(unit).await.unwrap();
    assert_eq!(units.status(unit).await.unwrap().unit_file_state, "disabled");
    units.mask(unit).await.unwrap();
    let status = units.status(unit).await.unwrap();
    assert!(status.is_masked() && status.exists());
    assert!(matches!(units.start(unit).await, Err(SonicError::UnitMasked { .. })));
    units.unmask(unit).await.unwrap();
    assert_eq!(units.start(unit).await.unwrap(), JobOutcome::Done);
}

#[tokio::test]
async fn who_would_stop_too_is_what_then_stops() {
    let with = |head: &str| format!("[Unit]\n{head}\n{RUNS}");
    let (_systemd, units) = Systemd::with(&[
        ("base.service", RUNS),
        ("required.service", &with("Requires=base.service\nAfter=base.service")),
        ("part.service", &with("PartOf=base.service")),
        ("down.service", &with("PartOf=base.service")),
        ("behind.service", &with("PartOf=down.service")),
        ("far.service", &with("BindsTo=required.service\nAfter=required.service")),
        ("wants.service", &with("Wants=base.service")),
        // As sonic.target does: systemd forgets a unit that is down and that nothing names.
        ("names.target", "[Unit]\nWants=required.service part.service far.service loop.service\n"),
        ("loop.service", &with("PartOf=required.service\nBindsTo=base.service\nAfter=base.service")),
    ])
    .await;
    for unit in ["base", "required", "part", "behind", "far", "wants", "loop"] {
        assert_eq!(units.start(&format!("{unit}.service")).await.unwrap(), JobOutcome::Done, "{unit}");
    }
    assert_eq!(units.start("names.target").await.unwrap(), JobOutcome::Done);
    // systemd knows a link only once it has loaded the unit that has it, as it does with every enabled one at boot.
    units.status("down.service").await.unwrap();
    let foretold = units.would_stop_with("base.service").await.unwrap();
    assert_eq!(foretold, ["far.service", "loop.service", "part.service", "required.service"]);
    let ever = ["behind.service", "down.service"].map(str::to_owned).into_iter().chain(foretold.clone());
    let ever: std::collections::BTreeSet<_> = ever.collect();
    let linked = units.would_ever_stop_with("base.service").await.unwrap();
    assert_eq!(linked, ever.iter().cloned().collect::<Vec<_>>(), "whether they are up or not");
    let needs = units.depends_on("loop.service").await.unwrap();
    assert!(needs.contains(&"base.service".to_owned()), "{needs:?}");

    assert_eq!(units.stop("base.service").await.unwrap(), JobOutcome::Done);
    for unit in &foretold {
        assert!(units.wait_active(unit, false, SOON).await.unwrap(), "{unit} did not stop");
    }
    for unit in ["wants.service", "behind.service"] {
        assert!(units.status(unit).await.unwrap().is_up(), "{unit} stopped unforetold");
    }
    assert_eq!(units.would_ever_stop_with("base.service").await.unwrap(), linked, "now that they are down");
}

#[tokio::test]
async fn a_unit_that_systemd_restarts_by_itself_is_waited_for() {
    let crashes = "[Unit]\nStartLimitBurst=1000\n[Service]\nType=oneshot\nRemainAfterExit=yes\nRestart=on-failure\n\
                   RestartSec=4\nExecStart=/bin/sh -c '[ -e %h/go ]'\n";
    let (systemd, units) = Systemd::with(&[("c.service", crashes)]).await;
    assert_eq!(units.start("c.service").await.unwrap(), JobOutcome::Failed("failed".into()));
    assert_eq!(units.status("c.service").await.unwrap().unit(), Unit::WillRestart);
    assert!(!units.wait_active("c.service", true, Duration::from_millis(100)).await.unwrap());
    systemd.touch("go");
    assert!(units.wait_active("c.service", true, SOON).await.unwrap());
    assert!(units.status("c.service").await.unwrap().n_restarts > 0);
}

#[tokio::test]
async fn units_that_change_their_state_are_told_and_a_try_leaves_a_stopped_one_alone() {
    let (_systemd, units) = Systemd::with(&[("heard.service", RUNS), ("unheard.service", RUNS)]).await;
    let mut changes = units.changes(&["heard.service".to_owned()]).await.unwrap();
    assert_eq!(units.try_restart("heard.service").await.unwrap(), JobOutcome::Done);
    assert_eq!(units.status("heard.service").await.unwrap().unit(), Unit::Off, "a try started it");
    units.start("unheard.service").await.unwrap();
    units.start("heard.service").await.unwrap();
    let first = units.status("heard.service").await.unwrap().main_pid;
    let told = tokio::time::timeout(SOON, changes.next()).await.expect("nothing was told");
    assert_eq!(told.as_deref(), Some("heard.service"));
    assert_eq!(units.try_restart("heard.service").await.unwrap(), JobOutcome::Done);
    assert_ne!(units.status("heard.service").await.unwrap().main_pid, first);
}

/// A unit that is not loaded is loaded to be looked at and forgotten at once. Who listens and then looks, as the agent
/// does, would go round for ever.
#[tokio::test]
async fn looking_at_a_unit_that_needs_another_is_no_change_of_the_other() {
    let needs = format!("{RUNS}\n[Unit]\nBindsTo=heard.service\nAfter=heard.service\n");
    let files = [("heard.service", RUNS), ("next.service", RUNS), ("needs.service", needs.as_str())];
    let (_systemd, units) = Systemd::with(&files).await;
    units.start("heard.service").await.unwrap();
    let heard = ["heard.service", "next.service"].map(str::to_owned);
    let mut changes = units.changes(&heard).await.unwrap();
    for _ in 0..3 {
        assert_eq!(units.status("needs.service").await.unwrap().unit(), Unit::Off);
    }
    units.stop("heard.service").await.unwrap();
    units.start("next.service").await.unwrap();
    let mut told = Vec::new();
    while told.last().is_none_or(|unit| unit != "next.service") {
        told.push(tokio::time::timeout(SOON, changes.next()).await.expect("nothing was told").unwrap());
    }
    // The stop of one that runs: on its way, and down.
    assert!(told.len() <= 3, "told of {told:?}");
}

#[tokio::test]
async fn a_bus_that_is_not_there_is_named() {
    let error = Units::connect_to("unix:path=/nowhere/bus").await.err().unwrap();
    assert!(matches!(&error, SonicError::BusUnreachable { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/bus") && error.to_string().contains("dbus"), "{error}");
}
