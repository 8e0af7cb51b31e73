//! `tpcm …`: third-party containers (docs/tpcm.md). Parses, asks, prints; what is done is `switchyard-tpc`'s.

mod args;
mod code;
mod password;
#[cfg(test)]
mod plugins;
mod print;
mod progress;
mod request;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use switchyard_core::tpc::{Asked, TpcName};
use switchyard_sonic::{NextBoot, Paths, next_boot, sonic_version};
use switchyard_tpc::ops::{self, InstallRequest, Settings, UpgradeRequest};

pub(crate) use args::Tpcm;
pub(crate) use code::exit_code;

use crate::args::Output;
use crate::error::CliError;
use crate::runtime::block_on;
use crate::terminal;
use args::{Consent, Export, Install, Limits, Name, Save, TpcmVerb, Upgrade};
use progress::Teller;

/// What a check that found something wrong bears.
const DAMAGED: u8 = 19;

/// Carries out one command.
pub(crate) fn main(args: &Tpcm) -> Result<ExitCode, CliError> {
    // Before anything is asked: what others keep in the arguments of their containers is root's alone to read.
    if !rustix::process::geteuid().is_root() {
        return Err(CliError::NotRoot("tpcm"));
    }
    let code = match &args.verb {
        TpcmVerb::Run(name) => return run(args, name),
        verb => block_on(carry_out(args, verb))?,
    };
    Ok(code)
}

/// The unit's main process: its end is the container's.
fn run(args: &Tpcm, name: &Name) -> Result<ExitCode, CliError> {
    block_on(async {
        let mut tpcm = ops::Tpcm::open(settings(args, false)).await?;
        Ok(ExitCode::from(tpcm.run(&parse(name)?).await?))
    })
}

async fn carry_out(args: &Tpcm, verb: &TpcmVerb) -> Result<ExitCode, CliError> {
    let format = args.output;
    let open = |dry_run| ops::Tpcm::open(settings(args, dry_run));
    match verb {
        TpcmVerb::Install(install) => print::report(&self::install(args, install).await?, format),
        TpcmVerb::Upgrade(upgrade) => print::report(&self::upgrade(args, upgrade).await?, format),
        TpcmVerb::Uninstall { name, purge, consent } => {
            let name = parse(name)?;
            let data = if *purge { " and its data" } else { "; its data stays" };
            confirm(*consent, &format!("Uninstall {name}{data}?"))?;
            print::report(&open(consent.dry_run).await?.uninstall(&name, *purge).await?, format);
        }
        TpcmVerb::List => print::list(&open(false).await?.list().await?, format),
        TpcmVerb::Show(name) => print::details(&open(false).await?.show(&parse(name)?).await?, format),
        TpcmVerb::Rollback { name, keep_data, consent } => {
            let name = parse(name)?;
            confirm(*consent, &format!("Go back to the version of {name} before the present one?"))?;
            print::report(&open(consent.dry_run).await?.rollback(&name, *keep_data).await?, format);
        }
        TpcmVerb::Resources { name, limits, consent } => {
            let (name, asked) = (parse(name)?, asked(limits)?);
            if asked.is_nothing() {
                return Err(CliError::Usage("what is to change? give --cpu, --memory or --disk".to_owned()));
            }
            confirm(*consent, &format!("Change the limits of {name}?"))?;
            print::report(&open(consent.dry_run).await?.resources(&name, asked).await?, format);
        }
        TpcmVerb::Recover { dry_run } => {
            print::recovered(&open(*dry_run).await?.recover().await?, format);
        }
        TpcmVerb::Verify => {
            let verified = open(false).await?.verify().await?;
            print::verified(&verified, format);
            if !verified.problems.is_empty() {
                return Ok(ExitCode::from(DAMAGED));
            }
        }
        TpcmVerb::Prune(consent) => {
            confirm(*consent, "Remove older versions and states, cut-off downloads, and what nobody needs?")?;
            print::pruned(&open(consent.dry_run).await?.prune().await?, format);
        }
        TpcmVerb::Save(save) => self::save(args, save).await?,
        TpcmVerb::Restore { dry_run } => {
            print::reports(&open(*dry_run).await?.restore().await?, format);
        }
        TpcmVerb::Apply => print::reports(&open(false).await?.apply().await?, format),
        TpcmVerb::Watch => open(false).await?.watch().await?,
        TpcmVerb::Stop(name) => open(false).await?.stop(&parse(name)?).await?,
        TpcmVerb::Export(export) => self::export(args, export).await?,
        TpcmVerb::Import { file, consent } => {
            confirm(*consent, &format!("Bring back what is in {}?", file.display()))?;
            print::reports(&open(consent.dry_run).await?.import(&absolute(file)?).await?, format);
        }
        // Told apart before.
        TpcmVerb::Run(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn install(args: &Tpcm, install: &Install) -> Result<ops::Report, CliError> {
    let name = parse(&install.name)?;
    let source = request::source(&install.from)?;
    let options = request::options(&install.make)?;
    confirm(install.consent, &format!("Install {name} from {}?", install.from.source))?;
    let source = request::with_secret(source, &install.from)?;
    let mut tpcm = ops::Tpcm::open(settings(args, install.consent.dry_run)).await?;
    let mut teller = Teller::new(args.output == Output::Json);
    Ok(tpcm.install(InstallRequest { name, source, options }, &mut teller).await?)
}

async fn upgrade(args: &Tpcm, upgrade: &Upgrade) -> Result<ops::Report, CliError> {
    let Upgrade { install, skip_data } = upgrade;
    let name = parse(&install.name)?;
    let source = request::source(&install.from)?;
    let options = request::options(&install.make)?;
    confirm(install.consent, &format!("Upgrade {name} from {}?", install.from.source))?;
    let source = request::with_secret(source, &install.from)?;
    let mut tpcm = ops::Tpcm::open(settings(args, install.consent.dry_run)).await?;
    let mut teller = Teller::new(args.output == Output::Json);
    let request = UpgradeRequest { name, source, options, skip_data: *skip_data };
    Ok(tpcm.upgrade(request, &mut teller).await?)
}

/// What cannot be told is taken for another image: a save too many costs seconds.
async fn save(args: &Tpcm, save: &Save) -> Result<(), CliError> {
    if save.if_next_boot_differs {
        let paths = Paths::from_env();
        let version = sonic_version(&paths.etc_sonic)?;
        let running = version.build_version().unwrap_or_default();
        match next_boot(&paths.host, running) {
            NextBoot::Same => return Ok(()),
            NextBoot::Other(next) => tracing::info!("{next} boots next, {running} runs: saving"),
            NextBoot::Unknown(why) => tracing::info!("saving, since {why}"),
        }
    }
    let mut tpcm = ops::Tpcm::open(settings(args, save.dry_run)).await?;
    if save.if_next_boot_differs && !tpcm.docker_runs().await {
        tracing::warn!("not saved, since Docker does not run: what was saved last counts");
        return Ok(());
    }
    print::reports(&tpcm.save(&[]).await?, args.output);
    Ok(())
}

async fn export(args: &Tpcm, export: &Export) -> Result<(), CliError> {
    let (name, file) = match (export.all, export.what.as_slice()) {
        (true, [file]) => (None, file),
        (false, [name, file]) => (Some(parse(&Name { name: name.clone() })?), file),
        (true, _) => return Err(CliError::Usage("--all takes one FILE and no NAME".to_owned())),
        (false, _) => return Err(CliError::Usage("NAME and FILE are needed, or --all and FILE".to_owned())),
    };
    let file = absolute(Path::new(file))?;
    if file.symlink_metadata().is_ok() {
        // An earlier export may be the only copy of what it holds.
        let text =
            format!("{} is there already, and is not written over: choose another name", file.display());
        return Err(CliError::Refused(text));
    }
    let mut tpcm = ops::Tpcm::open(settings(args, export.dry_run)).await?;
    let reports = match name {
        Some(name) => vec![tpcm.export(&name, &file).await?],
        None => tpcm.export_all(&file).await?,
    };
    print::reports(&reports, args.output);
    Ok(())
}

fn settings(args: &Tpcm, dry_run: bool) -> Settings {
    Settings { dry_run, wait: !args.no_wait, command: command(&args.verb), ..Settings::default() }
}

/// What others are told is going on: verb and name alone, since anything else that was typed may be a secret.
fn command(verb: &TpcmVerb) -> String {
    let (word, name) = match verb {
        TpcmVerb::Install(install) => ("install", Some(&install.name)),
        TpcmVerb::Upgrade(upgrade) => ("upgrade", Some(&upgrade.install.name)),
        TpcmVerb::Uninstall { name, .. } => ("uninstall", Some(name)),
        TpcmVerb::List => ("list", None),
        TpcmVerb::Show(name) => ("show", Some(name)),
        TpcmVerb::Rollback { name, .. } => ("rollback", Some(name)),
        TpcmVerb::Resources { name, .. } => ("resources", Some(name)),
        TpcmVerb::Recover { .. } => ("recover", None),
        TpcmVerb::Verify => ("verify", None),
        TpcmVerb::Prune(_) => ("prune", None),
        TpcmVerb::Save(_) => ("save", None),
        TpcmVerb::Restore { .. } => ("restore", None),
        TpcmVerb::Apply => ("apply", None),
        TpcmVerb::Watch => ("watch", None),
        TpcmVerb::Run(name) => ("run", Some(name)),
        TpcmVerb::Stop(name) => ("stop", Some(name)),
        TpcmVerb::Export(_) => ("export", None),
        TpcmVerb::Import { .. } => ("import", None),
    };
    // A word that is no name is refused later, and may be anything.
    let name = name.and_then(|name| TpcName::parse(&name.name).ok()).map(|name| format!(" {name}"));
    format!("tpcm {word}{}", name.unwrap_or_default())
}

fn parse(name: &Name) -> Result<TpcName, CliError> {
    Ok(TpcName::parse(&name.name)?)
}

fn asked(limits: &Limits) -> Result<Asked, CliError> {
    let bad = |error: switchyard_core::tpc::BadAmount| CliError::Usage(error.to_string());
    Ok(Asked {
        cpu: limits.cpu.as_deref().map(str::parse).transpose().map_err(bad)?,
        memory: limits.memory.as_deref().map(str::parse).transpose().map_err(bad)?,
        disk: limits.disk.as_deref().map(str::parse).transpose().map_err(bad)?,
    })
}

/// Nothing is done that nobody has agreed to. A dry run does nothing.
fn confirm(consent: Consent, question: &str) -> Result<(), CliError> {
    if consent.yes || consent.dry_run {
        return Ok(());
    }
    if !terminal::is_there() {
        let text =
            "there is no terminal to ask at, and nothing was changed: say -y if it is meant".to_owned();
        return Err(CliError::NotConfirmed(text));
    }
    let failed = |source| CliError::File { action: "read", path: PathBuf::from("the terminal"), source };
    if terminal::confirmed(question).map_err(failed)? {
        return Ok(());
    }
    Err(CliError::NotConfirmed("nothing was changed; -y says yes without being asked".to_owned()))
}

/// Whoever reads of it later may be elsewhere.
fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    let failed = |source| CliError::File { action: "find", path: path.to_owned(), source };
    std::path::absolute(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn what_others_are_told_of_a_command_is_its_verb_and_its_name() {
        for (line, told) in [
            ("tpcm install --password=S monitor http://host/i.tar", "tpcm install monitor"),
            ("tpcm install --args -eTOKEN=S monitor http://host/i?S", "tpcm install monitor"),
            ("tpcm upgrade S@/ http://host/i.tar", "tpcm upgrade"),
            ("tpcm --no-wait save", "tpcm save"),
            ("tpcm export --all /media/usb/S.tar", "tpcm export"),
        ] {
            let args = Tpcm::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(command(&args.verb), told, "{line}");
        }
    }
}
