//! What holds for every view there can be, however little rows, engine and configuration agree with each other.

use std::time::Duration;

use proptest::prelude::*;
use switchyard_core::{
    Admin, AgentView, ContainerId, Copy, CurrentOwner, FeatureConfig, FeatureName, FeatureState, Instance,
    Knobs, Local, Phase, Plan, Pod, RemoteState, RowChange, SetOwner, Step, SystemState, Unit, Verdict,
    Version, View, Waiting, Words, ended, instances_of, kill, reconcile, resolve, start, stop, wait,
};

use crate::case::{engine_id, row_id};

fn word<T: Words + std::fmt::Debug>() -> impl Strategy<Value = T> {
    prop::sample::select(T::ALL.iter().map(|(value, _)| *value).collect::<Vec<_>>())
}

fn recorded_id() -> impl Strategy<Value = Option<ContainerId>> {
    prop::option::of(prop::sample::select(vec!["snmp", "a", "b", "c"]).prop_map(row_id))
}

prop_compose! {
    fn any_row()(
        system_state in prop::option::of(word::<SystemState>()),
        current_owner in word::<CurrentOwner>(),
        container_id in recorded_id(),
        container_version in prop::option::of("[12]".prop_map(|text| Version::parse(&text).unwrap())),
        remote_state in word::<RemoteState>(),
        remote_container_id in recorded_id(),
    ) -> FeatureState {
        FeatureState {
            system_state, current_owner, container_id, container_version, remote_state, remote_container_id,
            ..FeatureState::default()
        }
    }
}

prop_compose! {
    fn any_view()(
        row in any_row(),
        kubernetes in prop::bool::weighted(0.8),
        server_answers in any::<bool>(),
        set_owner in word::<SetOwner>(),
        state in word::<Admin>(),
        fallback in any::<bool>(),
        local in prop::sample::select(vec![Local::Missing, Local::Stopped, Local::Running]),
        pods in prop::sample::subsequence(vec!["a", "b", "c"], 0..=3),
        feature in prop::sample::select(vec!["snmp", "database"]),
        verdict in any_verdict(),
        version in prop::option::of("[12]".prop_map(|text| Version::parse(&text).unwrap())),
    ) -> View {
        let view = View {
            instance: Instance::on_host(FeatureName::parse(feature).unwrap()),
            kubernetes, server_answers, row, local, verdict,
            asker_version: None,
            config: FeatureConfig { state, set_owner, fallback, ..FeatureConfig::default() },
            pods: pods.into_iter().map(|id| Pod { id: engine_id(id) }).collect(),
        };
        let asks = view.wanted() == SetOwner::Kube && view.asker().is_some();
        View { asker_version: version.filter(|_| asks), ..view }
    }
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let soon = Verdict::TooSoon(Duration::from_secs(30));
    prop::sample::select(vec![Verdict::Welcome, Verdict::Held, Verdict::Blocked, soon])
}

fn steady(view: &View, unit: Unit, same_as_local: bool) -> AgentView<'_> {
    AgentView {
        view,
        unit,
        since: Duration::MAX,
        phase: Phase::Steady,
        same_as_local,
        local_ran: true,
        copy_for: None,
        labelled: false,
        leaving: false,
    }
}

fn any_unit() -> impl Strategy<Value = Unit> {
    prop::sample::select(vec![Unit::Active, Unit::WillRestart, Unit::Busy, Unit::Off])
}

fn plans(view: &View) -> Vec<Plan> {
    start(view).into_iter().chain([stop(view), kill(view)]).collect()
}

/// Every row change that any decision on the host asks for here.
fn changes(view: &View) -> Vec<RowChange> {
    let mut changes = vec![ended(view)];
    for step in plans(view).into_iter().flat_map(|plan| plan.steps) {
        if let Step::Row(change) = step {
            changes.push(change);
        }
    }
    for idle in [Duration::ZERO, Knobs::default().revert_to_local] {
        match wait(view, idle, &Knobs::default()) {
            Waiting::Watch(_, repair) => changes.extend(repair),
            Waiting::Write(change, _) | Waiting::Over(change, _) => changes.push(change),
            Waiting::Await(..) => {}
        }
    }
    changes
}

/// The view after a plan was carried out with nobody in between. Nothing if a condition failed on the way.
fn after(view: &View, plan: &Plan) -> Option<View> {
    let mut view = view.clone();
    for step in &plan.steps {
        match step {
            Step::Label(_) | Step::AwaitRow(_) => {}
            Step::Row(change) => view.row = change.apply(&view.row)?,
            Step::StartLocal => view.local = Local::Running,
            Step::Stop(Copy::Local) | Step::Kill(Copy::Local) => view.local = Local::Stopped,
            Step::Stop(Copy::Pod(id)) | Step::Kill(Copy::Pod(id)) => {
                view.pods.retain(|pod| pod.id != *id);
            }
        }
    }
    Some(view)
}

fn position(plan: &Plan, wanted: impl Fn(&Step) -> bool) -> Option<usize> {
    plan.steps.iter().position(wanted)
}

proptest! {
    #[test]
    fn the_local_copy_never_starts_while_another_may_run_unstopped(view in any_view()) {
        let Ok(plan) = start(&view) else { return Ok(()) };
        let Some(starts) = position(&plan, |step| *step == Step::StartLocal) else { return Ok(()) };
        for pod in view.pods_that_may_run() {
            let stops = position(&plan, |step| *step == Step::Stop(Copy::Pod(pod.id.clone())));
            prop_assert!(stops.is_some_and(|stops| stops < starts), "{plan:?}");
        }
        let row = position(&plan, |step| matches!(step, Step::Row(change) if change.only_if.is_some()));
        prop_assert!(row.is_some_and(|row| row < starts), "{plan:?}");
    }

    /// Whatever the row says of itself, a pod that it names as the one that runs may run.
    #[test]
    fn a_pod_that_is_recorded_may_run_and_is_nobody_who_waits(view in any_view()) {
        if let Some(pod) = view.pod_in_charge() {
            prop_assert!(view.pods_that_may_run().any(|other| other == pod));
        }
        prop_assert!(view.pods.len() - view.pods_that_may_run().count() <= 1, "two wait for one turn");
    }

    #[test]
    fn a_turn_is_given_only_when_nothing_else_may_run(view in any_view(), seconds in 0_u64..400) {
        if let Waiting::Write(change, _) = wait(&view, Duration::from_secs(seconds), &Knobs::default())
            && change.remote_state == Some(RemoteState::Ready)
        {
            prop_assert!(change.only_if.is_some());
            prop_assert!(view.local != Local::Running);
            prop_assert!(view.is_up() && view.asker().is_some());
            prop_assert_eq!(view.pods_that_may_run().count(), 0);
        }
    }

    #[test]
    fn the_label_falls_first_for_owner_local_and_rises_last_for_owner_kube(view in any_view()) {
        let Ok(plan) = start(&view) else { return Ok(()) };
        let labels: Vec<_> = plan.steps.iter().filter(|step| matches!(step, Step::Label(_))).collect();
        if view.kubernetes {
            prop_assert_eq!(labels.len(), 1);
            match view.wanted() {
                SetOwner::Local => prop_assert_eq!(plan.steps.first(), Some(&Step::Label(false))),
                SetOwner::Kube => prop_assert_eq!(plan.steps.last(), Some(&Step::Label(true))),
            }
        }
        prop_assert!(!stop(&view).steps.contains(&Step::Label(true)));
    }

    #[test]
    fn without_kubernetes_support_nothing_of_kubernetes_is_written(mut view in any_view()) {
        view.kubernetes = false;
        view.pods.clear();
        for plan in plans(&view) {
            prop_assert!(!plan.steps.iter().any(|step| matches!(step, Step::Label(_))), "{plan:?}");
        }
        for change in changes(&view) {
            prop_assert_eq!(&change.remote_state, &None, "{:?}", change);
            prop_assert_eq!(&change.remote_container_id, &None, "{:?}", change);
            prop_assert!(change.current_owner != Some(CurrentOwner::Kube), "{:?}", change);
        }
        for unit in [Unit::Active, Unit::WillRestart, Unit::Busy, Unit::Off] {
            prop_assert_eq!(reconcile(&steady(&view, unit, false), &Knobs::default()), vec![]);
        }
    }

    #[test]
    fn every_row_change_of_the_host_rests_on_the_row_that_was_seen(view in any_view()) {
        for change in changes(&view) {
            prop_assert!(change.only_if.is_some(), "{change:?}");
        }
    }

    #[test]
    fn stop_leaves_nothing_that_may_run_and_a_row_that_says_so(view in any_view()) {
        let left = after(&view, &stop(&view)).expect("nobody came in between");
        prop_assert!(left.local != Local::Running);
        prop_assert_eq!(left.row.system_state, Some(SystemState::Down));
        prop_assert_eq!(left.row.current_owner, CurrentOwner::None);
        prop_assert_eq!(&left.row.container_id, &None);
        prop_assert_eq!(left.pods_that_may_run().count(), 0);
    }

    #[test]
    fn what_was_done_once_is_the_same_when_it_is_done_twice(view in any_view()) {
        if let Some(once) = start(&view).ok().and_then(|plan| after(&view, &plan)) {
            let twice = after(&once, &start(&once).expect("it started before")).expect("nobody came in between");
            prop_assert_eq!(&twice.row, &once.row);
            prop_assert_eq!(twice.local, once.local);
        }
        let once = after(&view, &stop(&view)).expect("nobody came in between");
        prop_assert_eq!(after(&once, &stop(&once)), Some(once.clone()));
        let once = after(&view, &kill(&view)).expect("nobody came in between");
        prop_assert_eq!(after(&once, &kill(&once)), Some(once.clone()));
    }

    #[test]
    fn a_repaired_row_needs_no_repair(view in any_view()) {
        let Waiting::Watch(copy, Some(repair)) = wait(&view, Duration::ZERO, &Knobs::default()) else {
            return Ok(());
        };
        let row = repair.apply(&view.row).expect("nobody came in between");
        let again = wait(&View { row, ..view }, Duration::ZERO, &Knobs::default());
        prop_assert_eq!(again, Waiting::Watch(copy, None));
    }

    #[test]
    fn kill_writes_neither_row_nor_label(view in any_view()) {
        prop_assert!(!kill(&view).steps.iter().any(|step| matches!(step, Step::Row(_) | Step::Label(_))));
    }

    /// BI#13342: `database` was restarted for its owner.
    #[test]
    fn the_daemon_never_touches_database(mut view in any_view(), unit in any_unit(), same: bool) {
        view.instance = Instance::on_host(FeatureName::parse("database").unwrap());
        prop_assert_eq!(reconcile(&steady(&view, unit, same), &Knobs::default()), vec![]);
    }

    #[test]
    fn no_text_breaks_the_reading_of_a_name(text in ".{0,40}", asics in any::<u8>(), known: bool) {
        if let Ok(instance) = resolve(&text, asics, |_| known) {
            prop_assert!(FeatureName::parse(instance.feature.as_str()).is_ok());
            prop_assert!(instance.asic.is_none_or(|asic| asic.0 < asics && asics > 1));
        }
    }

    /// What an instance is called leads back to it.
    #[test]
    fn an_instance_is_found_by_its_own_names(name in "[a-z][a-z0-9_-]{0,20}[a-z]", asics in 2_u8..8) {
        let feature = FeatureName::parse(&name).unwrap();
        let scope = switchyard_core::Scope { global: true, per_asic: true };
        for instance in instances_of(&feature, scope, asics) {
            let found = |text: &str| resolve(text, asics, |known| *known == feature);
            prop_assert_eq!(found(&instance.container_name()), Ok(instance.clone()));
            let unit = instance.unit_name();
            prop_assert_eq!(found(unit.trim_end_matches(".service")), Ok(instance));
        }
    }
}
