//! `cargo xtask test`: what CI runs, and all that it needs installed first.
//!
//! In the order of how fast a mistake shows: format, lints, what may be linked in, unit, property, model and simulation
//! tests, adapters against real daemons, the package, and stories on virtual switches, first without and then in a
//! cluster. Goes on past a failed stage, so that one run tells everything; the last line counts.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use switchyard_lab::machine::Machine;
use switchyard_lab::scenario::{self, Scenario, Selection};
use switchyard_lab::{scenarios, vm};

use crate::deb;

/// The checker of licences, bans and sources; built once into target/tools.
const CARGO_DENY: &str = "0.20.2";

/// How thoroughly.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Everything: larger models, every long story. Run it before a capability is called done
    #[arg(long)]
    long: bool,
    /// Only the stages before the virtual switches
    #[arg(long)]
    no_switches: bool,
    /// Not the stories that need a control plane, which takes minutes to build the first time
    #[arg(long)]
    no_cluster: bool,
}

/// What the tests of a stage came to.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: Vec<String>,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
    }

    /// A stage that is one check.
    fn one(result: Result<()>) -> Count {
        match result {
            Ok(()) => Count { passed: 1, failed: Vec::new() },
            Err(error) => {
                println!("FAILED {error:#}");
                Count { passed: 0, failed: vec![format!("{error:#}")] }
            }
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    Machine::prepare()?;
    let mut total = Count::default();
    let mut stage = |name: &str, count: &dyn Fn() -> Count| {
        println!("\n== {name}");
        let start = Instant::now();
        let count = count();
        println!(
            "== {name}: {} passed, {} failed ({:.0} s)",
            count.passed,
            count.failed.len(),
            start.elapsed().as_secs_f64()
        );
        total.add(count);
    };
    stage("format", &|| Count::one(cargo(&["fmt", "--all", "--check"])));
    stage("lints", &|| {
        Count::one(cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    });
    stage("lints without Kubernetes support", &|| {
        let variant = ["clippy", "--quiet", "-p", "switchyard", "--no-default-features", "--all-targets"];
        Count::one(cargo(&[&variant[..], &["--", "--deny", "warnings"]].concat()))
    });
    stage("licences, bans and sources", &|| Count::one(deny()));
    stage("unit, property, model and adapter tests", &|| {
        unit_tests(arguments.long).unwrap_or_else(|error| Count::one(Err(error)))
    });
    if !arguments.no_switches {
        stage("the package", &|| Count::one(crate::deb_test::run()));
        stage("stories on virtual switches", &|| {
            stories(scenarios::all(), arguments.long).unwrap_or_else(|error| Count::one(Err(error)))
        });
    }
    if arguments.long && !arguments.no_switches {
        stage("project quotas in a virtual machine", &|| match vm::project_quotas() {
            Ok(passed) => Count { passed, failed: Vec::new() },
            Err(error) => Count::one(Err(error)),
        });
    }
    if !arguments.no_switches && !arguments.no_cluster {
        // Their work would only slow down those that come now.
        switchyard_lab::fleet::down(false)?;
        stage("the simulation's cluster beside a real API server", &|| {
            in_cluster().unwrap_or_else(|error| Count::one(Err(error)))
        });
        stage("stories in a cluster", &|| {
            stories(scenarios::in_cluster(), arguments.long).unwrap_or_else(|error| Count::one(Err(error)))
        });
    }
    println!();
    // Again, since hours of output lie between some of them and here.
    for failed in &total.failed {
        println!("FAILED {failed}");
    }
    println!("{} passed, {} failed", total.passed, total.failed.len());
    Ok(if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .current_dir(deb::workspace())
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", arguments.join(" "));
    Ok(())
}

fn deny() -> Result<()> {
    let tools = deb::workspace().join("target/tools");
    let program = tools.join("bin/cargo-deny");
    if !program.exists() {
        let root = tools.to_string_lossy();
        cargo(&["install", "--quiet", "--locked", "--root", &root, "--version", CARGO_DENY, "cargo-deny"])?;
    }
    let status = Command::new(&program)
        .current_dir(deb::workspace())
        .args(["--log-level", "error", "check", "licenses", "bans", "sources"])
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(status.success(), "cargo deny found something that may not be linked in");
    Ok(())
}

/// All tests that need no control plane.
fn unit_tests(long: bool) -> Result<Count> {
    let mut tests = Command::new(env!("CARGO"));
    tests.args(["test", "--quiet", "--workspace", "--no-fail-fast"]);
    if long {
        tests.env("SWITCHYARD_LONG", "1");
    }
    counted(&mut tests)
}

/// Those that need one.
fn in_cluster() -> Result<Count> {
    let words = ["test", "--quiet", "-p", "switchyard-agent", "--test", "simulation", "--", "--ignored"];
    counted(Command::new(env!("CARGO")).args(words))
}

/// Runs `cargo test` and counts what its harnesses say.
fn counted(tests: &mut Command) -> Result<Count> {
    tests.current_dir(deb::workspace());
    let output =
        tests.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run cargo test")?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let mut passed = 0;
    for line in said.lines().filter(|line| line.starts_with("test result:")) {
        passed += number_before(line, " passed")?;
    }
    let name = |line: &str| Some(line.strip_prefix("---- ")?.strip_suffix(" stdout ----")?.to_owned());
    let count = Count { passed, failed: said.lines().filter_map(name).collect() };
    if !output.status.success() && count.failed.is_empty() {
        bail!("cargo test ended with {}", output.status);
    }
    ensure!(count.passed > 0, "cargo test ran no test");
    Ok(count)
}

fn number_before(line: &str, word: &str) -> Result<usize> {
    let before = line.split(word).next().unwrap_or_default();
    let digits = before.rsplit(' ').next().unwrap_or_default();
    digits.parse().with_context(|| format!("no number before{word:?} in {line:?}"))
}

fn stories(scenarios: Vec<Scenario>, long: bool) -> Result<Count> {
    let selection = Selection { filter: String::new(), long };
    let outcome = scenario::run(scenarios, &selection, &|kubernetes| Ok(Some(deb::build(kubernetes)?)))?;
    Ok(Count { passed: outcome.passed, failed: outcome.failed })
}
