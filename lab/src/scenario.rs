//! Tells scenarios on real switches, one after another on each, and keeps the switches honest in between.
//!
//! A scenario is a sentence and a function. After each one the runner checks that no payload ever met a second copy of
//! itself, and puts the switch back to normal; a scenario that leaves a switch which does not come back has failed.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Cluster};
use crate::fleet;
use crate::image::{Product, switch_image};
use crate::machine::Machine;
use crate::switch::{Host, Moment, Spec, Switch};

/// The switch that a scenario wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SwitchKind {
    /// One ASIC, Kubernetes support installed: the usual one.
    SingleAsic,
    /// As that, on a disk of its own, whose power can be cut.
    OwnDisk,
    /// Two ASICs, hence two instances of each per-ASIC feature.
    TwoAsics,
    /// One ASIC, an image without Kubernetes support.
    NoKubernetes,
    /// One ASIC, SONiC's kubelet installed, and a control plane to join.
    InCluster,
    /// As that, with two ASICs.
    TwoAsicsInCluster,
    /// As [`SwitchKind::InCluster`], while no other story needs the control plane: this one takes it away.
    AloneInCluster,
}

/// A story that must come true.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The sentence that it proves.
    pub name: &'static str,
    /// Where it plays.
    pub switch: SwitchKind,
    /// Whether it is left out unless everything is asked for.
    pub long: bool,
    /// The story; an error is its failure.
    pub run: fn(&Switch) -> Result<()>,
}

/// Which scenarios to run.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only those whose name contains this.
    pub filter: String,
    /// The long ones too.
    pub long: bool,
}

/// How a run of scenarios ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many came true.
    pub passed: usize,
    /// Those that did not, each with its cause in a line.
    pub failed: Vec<String>,
}

/// Of a cause in the summary. All of it stands where it was told first.
const CAUSE_MAX: usize = 300;

/// Gives our package, built with or without Kubernetes support.
pub type Package<'a> = &'a dyn Fn(bool) -> Result<Option<PathBuf>>;

/// Runs the chosen scenarios, prints a line for each, and at the end which failed and how many.
pub fn run(scenarios: Vec<Scenario>, selection: &Selection, package: Package<'_>) -> Result<Outcome> {
    let chosen: Vec<Scenario> = scenarios
        .into_iter()
        .filter(|scenario| scenario.name.contains(&selection.filter) && (selection.long || !scenario.long))
        .collect();
    if chosen.is_empty() {
        bail!("no scenario's name contains {:?}", selection.filter);
    }
    let count = chosen.len();
    let switches = set_the_stage(&chosen, package)?;
    let waiting = Mutex::new(VecDeque::from(chosen));
    // Most of a story is waiting, so each switch tells its own at the same time as the others.
    let failed = thread::scope(|scope| {
        let tellers: Vec<_> =
            switches.iter().map(|(kind, switch)| scope.spawn(|| tell_all(&waiting, *kind, switch))).collect();
        let panicked = |_| vec!["a story that panicked".to_owned()];
        tellers.into_iter().flat_map(|teller| teller.join().unwrap_or_else(panicked)).collect::<Vec<_>>()
    });
    for story in &failed {
        println!("FAILED {story}");
    }
    let passed = count - failed.len();
    println!("{passed} passed, {} failed", failed.len());
    Ok(Outcome { passed, failed })
}

/// Shared by the stories that need the control plane; that which takes it away has it alone.
static CONTROL_PLANE: RwLock<()> = RwLock::new(());

/// Tells the stories of one kind of switch on one switch until none waits any more; gives those that failed.
fn tell_all(waiting: &Mutex<VecDeque<Scenario>>, kind: SwitchKind, switch: &Switch) -> Vec<String> {
    let mut failed = Vec::new();
    while let Some(scenario) = next(waiting, kind) {
        let alone = scenario.switch == SwitchKind::AloneInCluster;
        let _alone = alone.then(|| CONTROL_PLANE.write().unwrap_or_else(PoisonError::into_inner));
        let _shared = (!alone).then(|| CONTROL_PLANE.read().unwrap_or_else(PoisonError::into_inner));
        let start = Instant::now();
        match play(switch, &scenario) {
            Ok(()) => println!("ok   {} ({:.1} s)", scenario.name, start.elapsed().as_secs_f64()),
            Err(error) => {
                println!("FAILED {} ({}): {error:#}", scenario.name, switch.name());
                failed.push(format!("{} ({}): {}", scenario.name, switch.name(), cause(&error)));
            }
        }
    }
    failed
}

/// What went wrong in the end, in a line.
fn cause(error: &anyhow::Error) -> String {
    let words: Vec<String> = error.root_cause().to_string().split_whitespace().map(str::to_owned).collect();
    words.join(" ").chars().take(CAUSE_MAX).collect()
}

fn next(waiting: &Mutex<VecDeque<Scenario>>, kind: SwitchKind) -> Option<Scenario> {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    // Those that must be alone come last, when the others have nothing to do anyway.
    let of_kind = |scenario: &Scenario| scenario.switch == kind;
    let at_home = |scenario: &Scenario| home(scenario.switch) == kind;
    let position = waiting.iter().position(of_kind).or_else(|| waiting.iter().position(at_home))?;
    waiting.remove(position)
}

/// The kind of the switches on which a story of this kind plays.
fn home(kind: SwitchKind) -> SwitchKind {
    if kind == SwitchKind::AloneInCluster { SwitchKind::InCluster } else { kind }
}

/// The switches of a kind: two of those on which most stories play.
fn numbers(kind: SwitchKind) -> &'static [u32] {
    match kind {
        SwitchKind::SingleAsic => &[1, 5],
        SwitchKind::OwnDisk => &[8, 9],
        SwitchKind::TwoAsics => &[2],
        SwitchKind::NoKubernetes => &[3],
        SwitchKind::InCluster | SwitchKind::AloneInCluster => &[4, 7],
        SwitchKind::TwoAsicsInCluster => &[6],
    }
}

/// Builds images and boots the switches that the stories need; those left from an earlier run are used again if nothing
/// has changed.
fn set_the_stage(chosen: &[Scenario], package: Package<'_>) -> Result<Vec<(SwitchKind, Switch)>> {
    let machine = Machine::prepare()?;
    let kinds: BTreeMap<SwitchKind, usize> = chosen.iter().fold(BTreeMap::new(), |mut kinds, scenario| {
        *kinds.entry(home(scenario.switch)).or_default() += 1;
        kinds
    });
    let mut switches = Vec::new();
    for (kind, stories) in kinds {
        let kubernetes = kind != SwitchKind::NoKubernetes;
        let asics = match kind {
            SwitchKind::TwoAsics | SwitchKind::TwoAsicsInCluster => 2,
            SwitchKind::SingleAsic
            | SwitchKind::OwnDisk
            | SwitchKind::NoKubernetes
            | SwitchKind::InCluster
            | SwitchKind::AloneInCluster => 1,
        };
        let kubelet = match kind {
            SwitchKind::InCluster | SwitchKind::TwoAsicsInCluster | SwitchKind::AloneInCluster => {
                Some(Cluster::up().and_then(|_| cluster::kubelet())?)
            }
            SwitchKind::SingleAsic
            | SwitchKind::OwnDisk
            | SwitchKind::TwoAsics
            | SwitchKind::NoKubernetes => None,
        };
        let product = Product { deb: package(kubernetes)?, kubernetes, kubelet };
        let spec =
            Spec { image: switch_image(&machine, &product)?, asics, disk: kind == SwitchKind::OwnDisk };
        for number in numbers(kind).iter().take(stories) {
            let switch = fleet::switch_number(*number);
            if !switch.runs_as(&spec)? {
                // What an earlier switch left on /host is no part of these stories.
                switch.remove(Host::Remove)?;
                switch.ensure(&spec)?;
            }
            switches.push((kind, switch));
        }
    }
    for (_, switch) in &switches {
        fleet::boot(switch)?;
        switch.remember_normal()?;
    }
    Ok(switches)
}

fn play(switch: &Switch, scenario: &Scenario) -> Result<()> {
    let since = switch.now();
    let story = (scenario.run)(switch).and_then(|()| referee(switch));
    if story.is_err() {
        match since.and_then(|since| keep_journal(switch, scenario, &since)) {
            Ok(file) => println!("     the switch's journal of it: {}", file.display()),
            Err(error) => println!("     the switch's journal of it could not be kept: {error:#}"),
        }
    }
    let back = switch.back_to_normal().context("the switch did not come back to normal");
    match (story, back) {
        (Ok(()), back) => back,
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(second)) => Err(error.context(format!("and afterwards: {second:#}; first"))),
    }
}

/// What the switch said during a story. Coming back to normal and the next stories may take it away.
fn keep_journal(switch: &Switch, scenario: &Scenario, since: &Moment) -> Result<PathBuf> {
    let directory = Machine::path("journals");
    fs::create_dir_all(&directory)?;
    let letters =
        scenario.name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    let file = directory.join(format!("{}-{}", switch.name(), letters.take(100).collect::<String>()));
    fs::write(&file, switch.journal(since)?)?;
    Ok(file)
}

/// Promise 1 of the design: never do two copies of a feature's payload run at once.
fn referee(switch: &Switch) -> Result<()> {
    let contended = switch.contended()?;
    if contended.is_empty() {
        return Ok(());
    }
    let proof = switch.ok("cd /run/payload && cat CONTENDED.* && rm CONTENDED.*")?;
    bail!("two copies ran at once of {}: {proof}", contended.join(", "))
}
