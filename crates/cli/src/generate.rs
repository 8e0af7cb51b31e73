//! `switchyard generate …`, completions and man pages: files made from descriptions and from our own definitions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_complete::Shell;
use serde_json::json;
use switchyard_core::FeatureName;
use switchyard_generator::{Description, Edited, Report, check_remove, install, list, remove, render};
use switchyard_sonic::{Paths, Switch, Units};

use crate::args::{Generate, GenerateVerb, Output, programs};
use crate::error::CliError;
use crate::output;
use crate::retire::retire;
use crate::runtime::block_on;

/// Carries out one verb.
pub(crate) fn main(args: &Generate) -> Result<ExitCode, CliError> {
    let running_switch = args.root == Path::new("/");
    match &args.verb {
        GenerateVerb::Render { description } => print_files(&read(description)?, args.output),
        GenerateVerb::Install { description, force } => {
            let description = read(description)?;
            let report = install(&args.root, &description, edited(*force))?;
            print_report(&report, args.output);
            if running_switch {
                // The row last: featured starts the unit as soon as it sees it.
                reload(&report)?;
                add_row(&description)?;
            }
        }
        GenerateVerb::Remove { name, force } => {
            let name = FeatureName::parse(name)?;
            if running_switch {
                // Nothing is stopped for the sake of a removal that would be refused afterwards.
                check_remove(&args.root, &name, edited(*force))?;
                let template = format!("/{name}@.service");
                let installed = list(&args.root)?;
                let files =
                    installed.iter().filter(|one| one.feature == name.as_str()).flat_map(|one| &one.files);
                let per_asic = files.into_iter().any(|file| file.ends_with(&template));
                block_on(retire(&name, per_asic))?;
            }
            let report = remove(&args.root, &name, edited(*force))?;
            print_report(&report, args.output);
            if running_switch {
                reload(&report)?;
            }
        }
        GenerateVerb::List => print_installed(&args.root, args.output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn edited(force: bool) -> Edited {
    if force { Edited::Discard } else { Edited::Refuse }
}

fn read(path: &Path) -> Result<Description, CliError> {
    let text = fs::read_to_string(path).map_err(|source| CliError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    Description::parse(&text).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
}

/// On a running switch the feature is known at once; values that an operator chose before win (SONIC.md 10.4). One
/// write, since featured acts on what it sees: a row without a state yet would have it mask the units.
fn add_row(description: &Description) -> Result<(), CliError> {
    let mut switch = Switch::open(Paths::from_env())?;
    let present = switch.raw_config(description.name())?.unwrap_or_default();
    let row = description.feature_row();
    let missing: Vec<(&str, &str)> =
        row.into_iter().filter(|(field, _)| !present.contains_key(*field)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Ok(switch.set_feature_fields(description.name(), &missing)?)
}

fn reload(report: &Report) -> Result<(), CliError> {
    if !report.units_changed {
        return Ok(());
    }
    block_on(async { Ok(Units::connect().await?.daemon_reload().await?) })
}

fn print_files(description: &Description, format: Output) {
    let files = render(description);
    match format {
        Output::Json => {
            let file = |file: &switchyard_generator::GeneratedFile| json!({ "path": file.path, "mode": format!("{:04o}", file.mode), "content": file.content });
            output::json(&files.iter().map(file).collect::<Vec<_>>());
        }
        Output::Table | Output::Wide => {
            for file in files {
                output::line(&format!("==> {} (mode {:04o}) <==\n{}", file.path, file.mode, file.content));
            }
        }
    }
}

fn print_report(report: &Report, format: Output) {
    match format {
        Output::Json => output::json(report),
        Output::Table | Output::Wide => {
            let groups = [
                ("written", &report.written),
                ("unchanged", &report.unchanged),
                ("removed", &report.removed),
            ];
            for (word, files) in groups {
                for file in files {
                    output::line(&format!("{word:<9} {file}"));
                }
            }
        }
    }
}

fn print_installed(root: &Path, format: Output) -> Result<(), CliError> {
    let installed = list(root)?;
    match format {
        Output::Json => output::json(&installed),
        Output::Table | Output::Wide => {
            let row = |one: &switchyard_generator::Installed| {
                let complete = if one.complete { "yes" } else { "no: run it again" };
                vec![
                    one.feature.clone(),
                    one.version.clone(),
                    complete.to_owned(),
                    one.files.len().to_string(),
                ]
            };
            output::table(
                &["Feature", "GeneratedBy", "Complete", "Files"],
                &installed.iter().map(row).collect::<Vec<_>>(),
            );
        }
    }
    Ok(())
}

/// Prints the completions of one of our programs.
pub(crate) fn completions(shell: Shell, program: &str) -> Result<ExitCode, CliError> {
    let found = programs().into_iter().find(|command| command.get_name() == program);
    let Some(mut command) = found else {
        return Err(CliError::Usage(format!("{program:?} is none of switchyard, container, system, tpcm")));
    };
    // Into memory first: the generator panics when its reader goes away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, program, &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Writes `man/*.1` and `completions/` below a directory, for the package.
pub(crate) fn docs(dir: &Path) -> Result<ExitCode, CliError> {
    let failed = |action, path: PathBuf| move |source| CliError::File { action, path, source };
    let (man, shells) = (dir.join("man"), dir.join("completions"));
    for made in [&man, &shells] {
        fs::create_dir_all(made).map_err(failed("make", made.clone()))?;
    }
    for mut command in programs() {
        let name = command.get_name().to_owned();
        clap_mangen::generate_to(command.clone(), &man).map_err(failed("write man pages to", man.clone()))?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command, &name, &shells)
                .map_err(failed("write completions to", shells.clone()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
