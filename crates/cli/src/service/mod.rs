//! `system service …`: features as services, through systemd over D-Bus (seed 000, requirement 5).
//!
//! Does its diligence first: is it a feature, is it masked, what goes with it. Units that are no features are
//! systemctl's own business, and get systemctl itself.

#[cfg(feature = "kubernetes")]
mod accept;
mod admin;
mod control;
mod explain;
mod list;
mod status;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use switchyard_core::{FeatureConfig, FeatureName, Instance, Scope, instances_of};
use switchyard_sonic::{SonicError, Units};

use crate::args::{Output, Service, ServiceVerb};
use crate::error::CliError;
use crate::runtime::block_on;
use switchyard_host::{Host, HostError, Target};

pub(crate) use admin::LEFT_ALONE;
pub(crate) use control::settle;

/// Carries out one verb.
pub(crate) fn main(args: &Service) -> Result<ExitCode, CliError> {
    let deadline = Duration::from_secs(args.timeout.into());
    match &args.verb {
        ServiceVerb::List => block_on(list::main(args.output)),
        ServiceVerb::Logs { name, follow, lines } => logs(&name.name, args.output, *follow, *lines),
        ServiceVerb::Start(name) => named(&name.name, "start", |known| control::start(known, deadline)),
        ServiceVerb::Stop(name) => named(&name.name, "stop", |known| control::stop(known, deadline)),
        ServiceVerb::Restart(name) => named(&name.name, "restart", |known| control::restart(known, deadline)),
        ServiceVerb::Reload(name) => named(&name.name, "reload", |known| control::reload(known, deadline)),
        ServiceVerb::Mask(name) => named(&name.name, "mask", control::mask),
        ServiceVerb::Unmask(name) => named(&name.name, "unmask", control::unmask),
        ServiceVerb::Enable(name) => named(&name.name, "enable", |known| admin::enable(known, deadline)),
        ServiceVerb::Disable(name) => named(&name.name, "disable", |known| admin::disable(known, deadline)),
        #[cfg(feature = "kubernetes")]
        ServiceVerb::Accept { name, version } => {
            named(&name.name, "accept", |known| accept::main(known, version.as_deref()))
        }
        ServiceVerb::Status(name) => named(&name.name, "status", |known| status::main(known, args.output)),
        ServiceVerb::Explain(name) => named(&name.name, "explain", |known| explain::main(known, args.output)),
    }
}

/// A feature that was named, with what every verb needs.
pub(crate) struct Known {
    pub(crate) host: Host,
    pub(crate) units: Units,
    pub(crate) feature: FeatureName,
    pub(crate) config: FeatureConfig,
    /// The instances that were meant: the one that was named, or all of the feature.
    pub(crate) instances: Vec<Instance>,
}

fn named<F>(name: &str, verb: &str, act: impl FnOnce(Known) -> F) -> Result<ExitCode, CliError>
where
    F: Future<Output = Result<ExitCode, CliError>>,
{
    let text = name.strip_suffix(".service").unwrap_or(name);
    if !is_unit_name(text) {
        return Err(CliError::Usage(format!("{name:?} is neither a feature nor a unit name")));
    }
    block_on(async {
        match find(text).await? {
            Some(known) => act(known).await,
            None => systemctl(verb, name).await,
        }
    })
}

/// What systemd allows in a unit's name; anything else would be an option or a path to systemctl.
fn is_unit_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !text.starts_with(['-', '.'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
}

async fn find(text: &str) -> Result<Option<Known>, CliError> {
    // A template's or another kind of unit's name is no feature name, and that is no error here.
    let (mut host, instance) = match Host::for_name(text, crate::KUBERNETES) {
        Ok((host, Target::Feature(instance))) => (host, instance),
        Ok((_, Target::Plain(_))) | Err(HostError::Resolve(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(config) = host.switch.feature_config(&instance.feature)? else { return Ok(None) };
    let scope = Scope { global: config.has_global_scope, per_asic: config.has_per_asic_scope };
    let all = instances_of(&instance.feature, scope, host.switch.asics());
    let instances = if instance.asic.is_none() && !all.is_empty() { all } else { vec![instance.clone()] };
    Ok(Some(Known { host, units: Units::connect().await?, feature: instance.feature, config, instances }))
}

async fn systemctl(verb: &str, name: &str) -> Result<ExitCode, CliError> {
    let text = name.strip_suffix(".service").unwrap_or(name);
    if text == "database" && ["enable", "disable", "mask", "explain"].contains(&verb) {
        return Err(CliError::Refused(format!(
            "cannot {verb} database: it carries the rows of all features, so it always runs and is never ours; see: \
             systemctl status database"
        )));
    }
    if verb == "explain" {
        return Err(CliError::NoSuchFeature(name.to_owned()));
    }
    // systemctl bears a code of its own for a unit that does not exist, and for `enable` none that tells.
    if verb != "status" && is_unknown(name).await? {
        return Err(SonicError::NoSuchUnit { unit: name.to_owned() }.into());
    }
    let source = Command::new("systemctl").arg(verb).arg("--").arg(name).exec();
    Err(CliError::Exec { program: "systemctl".to_owned(), source })
}

/// Whether systemd knows neither a unit of this name nor a file for one.
async fn is_unknown(name: &str) -> Result<bool, CliError> {
    const KINDS: [&str; 7] = [".service", ".socket", ".target", ".timer", ".mount", ".path", ".slice"];
    let has_kind = KINDS.iter().any(|kind| name.ends_with(kind));
    let unit = if has_kind { name.to_owned() } else { format!("{name}.service") };
    // A template is a file and no unit: systemctl knows what may be done with one.
    Ok(!unit.contains("@.") && !Units::connect().await?.status(&unit).await?.exists())
}

fn logs(name: &str, format: Output, follow: bool, lines: Option<u32>) -> Result<ExitCode, CliError> {
    let text = name.strip_suffix(".service").unwrap_or(name);
    if !is_unit_name(text) {
        return Err(CliError::Usage(format!("{name:?} is neither a feature nor a unit name")));
    }
    let units = match block_on(find(text))? {
        Some(known) => known.instances.iter().map(Instance::unit_name).collect(),
        None => vec![name.to_owned()],
    };
    let mut journalctl = Command::new("journalctl");
    for unit in &units {
        journalctl.arg("--unit").arg(unit);
    }
    match format {
        // One document for each entry, as journalctl has them.
        Output::Json => {
            journalctl.args(["--output", "json"]);
        }
        Output::Table | Output::Wide => {}
    }
    if follow {
        journalctl.arg("--follow");
    }
    if let Some(lines) = lines {
        journalctl.arg("--lines").arg(lines.to_string());
    }
    let source = journalctl.exec();
    Err(CliError::Exec { program: "journalctl".to_owned(), source })
}
