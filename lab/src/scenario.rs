//! Tells scenarios on real switches, one after another, and keeps the switches honest in between.
//!
//! A scenario is a sentence and a function. After each one the runner checks that no payload ever met a second copy of
//! itself, and puts the switch back to normal; a scenario that leaves a switch which does not come back has failed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Cluster};
use crate::fleet;
use crate::image::{Product, switch_image};
use crate::machine::Machine;
use crate::switch::{Host, Spec, Switch};

/// The switch that a scenario wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SwitchKind {
    /// One ASIC, Kubernetes support installed: the usual one.
    SingleAsic,
    /// Two ASICs, hence two instances of each per-ASIC feature.
    TwoAsics,
    /// One ASIC, an image without Kubernetes support.
    NoKubernetes,
    /// One ASIC, SONiC's kubelet installed, and a control plane to join.
    InCluster,
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

/// Gives our package, built with or without Kubernetes support.
pub type Package<'a> = &'a dyn Fn(bool) -> Result<Option<PathBuf>>;

/// Runs the chosen scenarios, prints a line for each and a last one with the count; gives how many passed and failed.
pub fn run(scenarios: Vec<Scenario>, selection: &Selection, package: Package<'_>) -> Result<(usize, usize)> {
    let chosen: Vec<Scenario> = scenarios
        .into_iter()
        .filter(|scenario| scenario.name.contains(&selection.filter) && (selection.long || !scenario.long))
        .collect();
    if chosen.is_empty() {
        bail!("no scenario's name contains {:?}", selection.filter);
    }
    let stage = Stage::set(&chosen, package)?;
    let mut failed = 0;
    for scenario in &chosen {
        let start = Instant::now();
        match stage.play(scenario) {
            Ok(()) => println!("ok   {} ({:.1} s)", scenario.name, start.elapsed().as_secs_f64()),
            Err(error) => {
                failed += 1;
                println!("FAILED {}: {error:#}", scenario.name);
            }
        }
    }
    println!("{} passed, {failed} failed", chosen.len() - failed);
    Ok((chosen.len() - failed, failed))
}

/// The switches that the chosen scenarios need.
struct Stage {
    switches: BTreeMap<SwitchKind, Switch>,
}

impl Stage {
    /// Builds images and boots the switches; those left from an earlier run are used again if nothing has changed.
    fn set(chosen: &[Scenario], package: Package<'_>) -> Result<Stage> {
        let machine = Machine::prepare()?;
        let mut switches = BTreeMap::new();
        for scenario in chosen {
            if switches.contains_key(&scenario.switch) {
                continue;
            }
            let (number, asics, kubernetes) = match scenario.switch {
                SwitchKind::SingleAsic => (1, 1, true),
                SwitchKind::TwoAsics => (2, 2, true),
                SwitchKind::NoKubernetes => (3, 1, false),
                SwitchKind::InCluster => (4, 1, true),
            };
            let kubelet = match scenario.switch {
                SwitchKind::InCluster => Some(Cluster::up().and_then(|_| cluster::kubelet())?),
                SwitchKind::SingleAsic | SwitchKind::TwoAsics | SwitchKind::NoKubernetes => None,
            };
            let product = Product { deb: package(kubernetes)?, kubernetes, kubelet };
            let spec = Spec { image: switch_image(&machine, &product)?, asics };
            let switch = fleet::switch_number(number);
            if !switch.runs_as(&spec)? {
                // What an earlier switch left on /host is no part of these stories.
                switch.remove(Host::Remove)?;
                switch.ensure(&spec)?;
            }
            switches.insert(scenario.switch, switch);
        }
        for switch in switches.values() {
            fleet::boot(switch)?;
            switch.remember_normal()?;
        }
        Ok(Stage { switches })
    }

    fn play(&self, scenario: &Scenario) -> Result<()> {
        let switch = self.switches.get(&scenario.switch).context("its switch is not up")?;
        let story = (scenario.run)(switch).and_then(|()| referee(switch));
        let back = switch.back_to_normal().context("the switch did not come back to normal");
        match (story, back) {
            (Ok(()), back) => back,
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(second)) => Err(error.context(format!("and afterwards: {second:#}; first"))),
        }
    }
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
