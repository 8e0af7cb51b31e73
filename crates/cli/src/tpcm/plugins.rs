//! Whether the plug-ins of SONiC's `config` and `show` and the command tree of Klish reach all that tpcm can do, and hand on
//! what was typed, word for word, and the answer; and whether the tutorial tells of all of it. What tpcm can do comes from
//! its own definitions, so that a verb, an option or a word that one chooses from cannot be forgotten there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use clap::CommandFactory as _;
use clap::parser::ValueSource;
use tempfile::TempDir;

use super::args::Tpcm;

/// Debian's, which has the package python3-click.
const PYTHON: &str = "/usr/bin/python3";

/// How the stand-in for tpcm ends.
const CODE: i32 = 13;

fn packaging(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name)
}

/// A tpcm that tells what it got, a line each, and then what it reads.
fn stand_in() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tpcm");
    fs::write(&path, format!("#!/bin/sh\nfor word; do echo \"$word\"; done; cat; exit {CODE}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (directory, path)
}

/// Runs one of the scripts.
fn python(script: &str, arguments: &[String]) -> Output {
    let (_directory, tpcm) = stand_in();
    let mut command = Command::new(PYTHON);
    command.arg("-B").arg(packaging(script)).args(arguments).env("TPCM", tpcm);
    command.stdin(std::process::Stdio::null()).output().expect("install Debian's python3-click")
}

/// What tpcm got from a script that must end as tpcm did.
fn handed_on(script: &str, arguments: &[String]) -> Vec<String> {
    let output = python(script, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(CODE), "{script} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(ToString::to_string).collect()
}

/// What a plug-in of `config` or `show` makes of what was typed after that word.
fn click(program: &str, typed: &[String]) -> Vec<String> {
    let directory = packaging("click").to_string_lossy().into_owned();
    let host = [directory, format!("{program}_tpcm"), "tpcm".to_owned()];
    handed_on("tests/click/host.py", &[&host[..], typed].concat())
}

/// Every call of tpcm that Klish forms.
fn klish() -> Vec<Vec<String>> {
    let files = ["klish/tpcm.xml", "klish/tpcm_actioner.py"];
    let output = python("tests/klish/klish.py", &files.map(|file| packaging(file).display().to_string()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All that can be typed after `tpcm`: each verb with each of its arguments and, where there is a choice, each word.
fn possible() -> BTreeSet<String> {
    let mut command = Tpcm::command().disable_help_subcommand(true).disable_help_flag(true);
    command.build();
    let mut possible = BTreeSet::new();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        for argument in verb.get_arguments().filter(|argument| argument.get_id() != "help") {
            let place = format!("{} {}", verb.get_name(), argument.get_id());
            let choices = argument.get_possible_values();
            possible.extend(choices.iter().map(|choice| format!("{place} {}", choice.get_name())));
            possible.insert(place);
        }
    }
    possible
}

/// What of it a line says, which the parser must accept.
fn said(line: &[String]) -> BTreeSet<String> {
    let program = ["tpcm".to_owned()];
    let matches = Tpcm::command().try_get_matches_from(program.iter().chain(line));
    let matches = matches.unwrap_or_else(|error| panic!("{line:?}: {error}"));
    let (verb, matches) = matches.subcommand().unwrap();
    let given =
        matches.ids().filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine));
    given
        .flat_map(|id| {
            let place = format!("{verb} {id}");
            let values = matches.get_raw(id.as_str()).into_iter().flatten();
            let chosen = values.map(|value| format!("{place} {}", value.to_string_lossy()));
            chosen.chain([place.clone()]).collect::<Vec<_>>()
        })
        .collect()
}

/// What is reached by none of these lines.
fn missing(lines: &[Vec<String>]) -> Vec<String> {
    let reached: BTreeSet<String> = lines.iter().flat_map(|line| said(line)).collect();
    possible().difference(&reached).cloned().collect()
}

#[test]
fn klish_reaches_all_that_tpcm_can_do() {
    // A password goes another way, where no list of processes shows it.
    assert_eq!(missing(&klish()), ["install password", "upgrade password"]);
}

#[test]
fn config_and_show_reach_all_that_tpcm_can_do() {
    let mut lines = klish();
    for verb in ["install", "upgrade"] {
        lines.push(words(&[verb, "--password=S", "monitor", "http://host/i.tar"]));
    }
    let (asking, configs): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| ["list", "show"].contains(&line[0].as_str()));
    let asked: Vec<_> = asking.iter().map(|line| click("show", &line[1..])).collect();
    // Those of one verb at once: each word is handed on as it is, whatever the others are.
    let verbs: BTreeSet<&String> = configs.iter().map(|line| &line[0]).collect();
    for verb in verbs {
        let of_verb = configs.iter().filter(|line| line[0] == *verb);
        let typed: Vec<String> = [verb.clone()].into_iter().chain(of_verb.flatten().cloned()).collect();
        assert_eq!(click("config", &typed), typed);
    }
    assert_eq!(missing(&[asked, configs].concat()), [""; 0]);
}

#[test]
fn the_tutorials_table_has_every_verb_and_option() {
    let text = fs::read_to_string(packaging("../docs/tpcm.md")).unwrap();
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    let has =
        |word: &str| table.iter().any(|row| row.split(['`', ' ', ',', '\\']).any(|found| found == word));
    let mut command = Tpcm::command().disable_help_subcommand(true);
    command.build();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        assert!(has(verb.get_name()), "{} is not told", verb.get_name());
        for option in verb.get_arguments().filter_map(clap::Arg::get_long).filter(|long| *long != "help") {
            assert!(has(&format!("--{option}")), "--{option} is not told");
        }
    }
}

#[test]
fn the_tutorials_table_tells_which_verbs_ask_and_which_can_only_tell() {
    let text = fs::read_to_string(packaging("../docs/tpcm.md")).unwrap();
    let verbs = |option: &str| -> BTreeSet<String> {
        let row = text.lines().find(|line| line.split('|').nth(2).is_some_and(|cell| cell.contains(option)));
        let cell = row.unwrap().split('|').nth(1).unwrap();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let taking = |option: &str| -> BTreeSet<String> {
        let command = Tpcm::command();
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let taking = shown.filter(|verb| verb.get_arguments().any(|found| found.get_long() == Some(option)));
        taking.map(|verb| verb.get_name().to_owned()).collect()
    };
    assert_eq!(verbs("`--yes`"), taking("yes"));
    // Whatever asks can also only tell.
    assert_eq!(&verbs("`--yes`") | &verbs("`--dry-run`"), taking("dry-run"));
}

#[test]
fn what_is_typed_stays_what_it_is() {
    for typed in [
        &["install", "a", "http://x", "--args", "-e A=b", "-y"][..],
        &["install", "--help"],
        &["uninstall", "a", "--", "$(reboot)", "--", "--purge"],
    ] {
        assert_eq!(click("config", &words(typed)), typed);
    }
    for (understood, call) in [
        (&["list", "output=", "flag="][..], &["list", "--"][..]),
        (
            &["install", "word=a", "word=--purge", "args=-e A=b"],
            &["install", "--args=-e A=b", "--", "a", "--purge"],
        ),
        (&["uninstall", "word=a", "flag=PURGE"], &["uninstall", "--purge", "--", "a"]),
        (&["install", "after=snmp,bgp", "word=a"], &["install", "--after=snmp", "--after=bgp", "--", "a"]),
        (&["install", "word=a", "password=a b=c"], &["install", "--password-stdin", "--", "a", "a b=c"]),
    ] {
        assert_eq!(handed_on("klish/tpcm_actioner.py", &words(understood)), call);
    }
}
