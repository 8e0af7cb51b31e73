//! Every plan is killed before, in and after every step, and its recovery too: what is left is the old version or the
//! new one, whole, and nothing beside it.

use std::collections::BTreeSet;

use super::*;

/// What a step changes, as far as anyone could find it left over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    /// The version in the volume; none if there is no volume.
    volume: Option<u8>,
    /// The version whose container has the name; whether it runs.
    container: Option<u8>,
    runs: bool,
    /// A container that was renamed.
    renamed: Option<u8>,
    /// One that is not in its place yet.
    next: Option<u8>,
    /// A copy of the volume, and whether all of it is there.
    aside: Option<(u8, bool)>,
    /// A copy of the data to go back to.
    back: Option<u8>,
    unit: Option<u8>,
    record: Option<u8>,
    /// The limits of the container.
    limits: u8,
    /// Images that have a name on the engine.
    images: BTreeSet<u8>,
    /// Images in the store.
    store: BTreeSet<u8>,
    snapshot: bool,
}

const OLD: u8 = 1;
const NEW: u8 = 2;
const SAVED: u8 = 3;

fn nothing() -> World {
    World {
        volume: None,
        container: None,
        runs: false,
        renamed: None,
        next: None,
        aside: None,
        back: None,
        unit: None,
        record: None,
        limits: OLD,
        images: BTreeSet::new(),
        store: BTreeSet::new(),
        snapshot: false,
    }
}

fn installed(version: u8) -> World {
    World {
        volume: Some(version),
        container: Some(version),
        runs: true,
        unit: Some(version),
        record: Some(version),
        images: BTreeSet::from([version]),
        store: BTreeSet::from([version]),
        ..nothing()
    }
}

impl World {
    fn brought(operation: Operation) -> u8 {
        if operation == Operation::Save { SAVED } else { NEW }
    }

    fn forward(&mut self, operation: Operation, facts: Facts, step: Step) {
        let new = Self::brought(operation);
        match step {
            Step::Ingest => drop(self.store.insert(new)),
            Step::Load => drop(self.images.insert(new)),
            Step::PreHook | Step::PostHook | Step::StaysUp | Step::KeepOld => {}
            Step::CopyAside => self.aside = self.volume.map(|version| (version, false)),
            Step::CopyBack => self.back = Some(new),
            Step::Stop => self.runs = false,
            Step::SetAside => self.aside = self.volume.map(|version| (version, true)),
            Step::Exchange => {
                self.aside = self.volume.map(|version| (version, true));
                self.volume = self.back.take();
            }
            Step::Volume => {
                if operation != Operation::Restore || self.volume.is_none() {
                    self.volume = Some(new);
                }
            }
            Step::Container => self.next = Some(new),
            Step::Replace => {
                self.renamed = self.container;
                self.container = self.next.take();
            }
            Step::Unit => self.unit = Some(new),
            Step::Start => {
                self.runs = true;
                // A new version writes into the volume as soon as it runs.
                if operation != Operation::Restore && !facts.keep_data {
                    self.volume = Some(new);
                }
            }
            Step::Record => self.record = Some(new),
            Step::LetGo => {
                self.renamed = None;
                self.aside = None;
                self.snapshot = false;
                if operation != Operation::Save {
                    self.images = BTreeSet::from([new]);
                }
            }
            Step::Snapshot => self.snapshot = true,
            Step::Limits => self.limits = NEW,
            Step::RemoveUnit => {
                self.unit = None;
                self.runs = false;
            }
            Step::RemoveContainer => self.container = None,
            Step::RemoveImage => self.images.clear(),
            Step::RemoveVolume => self.volume = None,
            Step::Forget => self.record = None,
            Step::Sweep => self.store = self.record.into_iter().collect(),
        }
    }

    fn backward(&mut self, before: &World, operation: Operation, is_done: bool, step: Step) {
        match step {
            Step::Load => {
                if !before.images.contains(&Self::brought(operation)) {
                    self.images.remove(&Self::brought(operation));
                }
            }
            Step::CopyAside => self.aside = None,
            Step::Stop => self.runs = before.runs,
            Step::SetAside => match self.aside {
                Some((version, true)) if is_done => {
                    self.volume = Some(version);
                    self.aside = None;
                }
                _ => self.aside = None,
            },
            Step::CopyBack => self.back = None,
            // What is aside is the volume itself: it is whole whenever it is there.
            Step::Exchange => {
                if let Some((version, _)) = self.aside.take() {
                    self.volume = Some(version);
                }
            }
            Step::Volume => {
                if before.volume.is_none() {
                    self.volume = None;
                }
            }
            Step::Container => self.next = None,
            Step::Replace => {
                if let Some(old) = self.renamed.take() {
                    self.container = Some(old);
                } else if self.container != before.container {
                    self.container = None;
                }
            }
            Step::Unit => self.unit = before.unit,
            Step::Start => self.runs = false,
            Step::Snapshot => self.snapshot = false,
            Step::Limits => self.limits = before.limits,
            Step::Ingest | Step::PreHook | Step::PostHook | Step::StaysUp => {}
            Step::Record
            | Step::KeepOld
            | Step::LetGo
            | Step::RemoveUnit
            | Step::RemoveContainer
            | Step::RemoveImage
            | Step::RemoveVolume
            | Step::Forget
            | Step::Sweep => panic!("{step:?} comes after the record and is never undone"),
        }
    }

    /// What the executor does when all is undone.
    fn sweep(&mut self, before: &World) {
        self.store.retain(|image| before.store.contains(image));
    }
}

fn all_facts() -> impl Iterator<Item = Facts> {
    (0_u8..16).map(|bits| Facts {
        hooks: bits & 1 != 0,
        purge: bits & 2 != 0,
        keep_data: bits & 4 != 0,
        older: bits & 8 != 0,
    })
}

fn before(operation: Operation, facts: Facts) -> World {
    match operation {
        Operation::Install => nothing(),
        Operation::Restore if facts.older => {
            World { record: Some(NEW), store: BTreeSet::from([NEW]), ..installed(OLD) }
        }
        Operation::Restore => {
            World { volume: Some(NEW), record: Some(NEW), store: BTreeSet::from([NEW]), ..nothing() }
        }
        Operation::Rollback => World { store: BTreeSet::from([OLD, NEW]), ..installed(OLD) },
        Operation::Upgrade | Operation::Uninstall | Operation::Save | Operation::Resources => installed(OLD),
    }
}

/// Recovers a world, dying once more after `dies` of the recovery's own steps.
fn settle(
    world: &mut World,
    before: &World,
    at: (Operation, Facts),
    progress: &Progress,
    dies: Option<usize>,
) {
    for limit in dies.into_iter().chain([usize::MAX]) {
        match recover(progress) {
            Recovery::Finish(steps) => {
                for step in steps.iter().take(limit) {
                    world.forward(at.0, at.1, *step);
                }
            }
            Recovery::Undo(steps) => {
                for step in steps.iter().take(limit) {
                    world.backward(before, at.0, progress.is_done(*step), *step);
                }
                if limit == usize::MAX {
                    world.sweep(before);
                }
            }
        }
    }
}

#[test]
fn every_plan_killed_anywhere_ends_in_the_old_or_the_new_state() {
    let mut killed = 0;
    for (operation, facts) in
        Operation::ALL.into_iter().flat_map(|op| all_facts().map(move |facts| (op, facts)))
    {
        let at = (operation, facts);
        let before = before(operation, facts);
        let steps = plan(operation, &facts);
        let mut after = before.clone();
        for step in &steps {
            after.forward(operation, facts, *step);
        }
        for done in 0..=steps.len() {
            // Marked, begun and not done, begun and done.
            for (begun, worked) in [(false, false), (true, false), (true, true)] {
                if begun && done == steps.len() {
                    continue;
                }
                let mut world = before.clone();
                let reached = done + usize::from(worked);
                for step in &steps[..reached] {
                    world.forward(operation, facts, *step);
                }
                let progress = Progress { steps: steps.clone(), done, begun };
                for dies in std::iter::once(None).chain((0..steps.len()).map(Some)) {
                    let mut settled = world.clone();
                    settle(&mut settled, &before, at, &progress, dies);
                    let went_on = matches!(recover(&progress), Recovery::Finish(_));
                    let expected = if went_on { &after } else { &before };
                    assert_eq!(
                        &settled, expected,
                        "{operation} {facts:?} after {done} of {steps:?}, begun {begun}"
                    );
                    killed += 1;
                }
            }
        }
    }
    assert!(killed > 5000, "only {killed} deaths");
}

#[test]
fn a_plan_that_ran_to_its_end_leaves_the_new_version_alone() {
    for facts in all_facts() {
        let mut world = nothing();
        for step in plan(Operation::Install, &facts) {
            world.forward(Operation::Install, facts, step);
        }
        assert_eq!(world, World { limits: OLD, ..installed(NEW) });
        let mut world = installed(OLD);
        for step in plan(Operation::Uninstall, &facts) {
            world.forward(Operation::Uninstall, facts, step);
        }
        let volume = (!facts.purge).then_some(OLD);
        assert_eq!(world, World { volume, ..nothing() });
    }
}

#[test]
fn an_upgrade_checks_before_it_stops_and_lets_go_last_and_a_rollback_copies_before_it_stops() {
    let steps = plan(Operation::Upgrade, &Facts { hooks: true, ..Facts::default() });
    let order: Vec<_> = [
        Step::Ingest,
        Step::Load,
        Step::PreHook,
        Step::Container,
        Step::Unit,
        Step::Stop,
        Step::SetAside,
        Step::Replace,
        Step::Start,
        Step::PostHook,
        Step::StaysUp,
        Step::Record,
        Step::LetGo,
    ]
    .iter()
    .map(|step| steps.iter().position(|found| found == step).unwrap())
    .collect();
    assert!(order.is_sorted(), "{steps:?}");
    let down: Vec<_> = steps.iter().skip_while(|step| **step != Step::Stop).copied().collect();
    let short = [Step::Stop, Step::SetAside, Step::Volume, Step::Replace, Step::Start];
    assert!(down.starts_with(&short), "nothing is done while it is down that can be done before: {down:?}");
    let back = plan(Operation::Rollback, &Facts::default());
    let down: Vec<_> = back.iter().skip_while(|step| **step != Step::Stop).copied().collect();
    assert!(down.starts_with(&[Step::Stop, Step::Exchange, Step::Volume, Step::Replace, Step::Start]));
    assert!(!down.contains(&Step::CopyBack) && back.contains(&Step::CopyBack), "{back:?}");
    let without = plan(Operation::Upgrade, &Facts::default());
    assert!(!without.contains(&Step::PreHook) && !without.contains(&Step::PostHook));
    assert!(without.contains(&Step::SetAside), "data is set aside even if no hook is to see it");
}

#[test]
fn no_step_is_in_a_plan_twice_and_each_has_a_name_of_its_own() {
    let mut words = BTreeSet::new();
    for (operation, facts) in
        Operation::ALL.into_iter().flat_map(|op| all_facts().map(move |facts| (op, facts)))
    {
        let steps = plan(operation, &facts);
        let distinct: BTreeSet<_> = steps.iter().map(|step| step.word()).collect();
        assert_eq!(distinct.len(), steps.len(), "{operation}: {steps:?}");
        words.extend(distinct);
    }
    assert_eq!(words.len(), 26, "a step that is in no plan can go: {words:?}");
}
