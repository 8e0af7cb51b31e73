//! A command line that cannot be understood, told in one line: what is wrong, and how the command is used.
//!
//! clap's own text takes up to eight lines, which is too much for a journal and for a script's error message.

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::output::tell;

/// What wrong arguments bear, as `--help` promises.
const WRONG_ARGUMENTS: u8 = 2;

/// Prints what was asked for (help, version), or what is wrong with the command line of `program`.
pub(crate) fn answer(program: &str, error: &clap::Error) -> ExitCode {
    let asked_for = !error.use_stderr();
    if asked_for || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // A reader that went away is no failure.
        let _ = error.print();
        return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(WRONG_ARGUMENTS) };
    }
    tell(&format!("{program}: {}", one_line(program, &error.to_string())));
    ExitCode::from(WRONG_ARGUMENTS)
}

/// The first paragraph says what is wrong; the one that begins with "Usage:" how it is done.
fn one_line(program: &str, text: &str) -> String {
    let paragraphs: Vec<String> = text.split("\n\n").map(squeeze).collect();
    let wrong = paragraphs.first().map_or("", |first| first.strip_prefix("error: ").unwrap_or(first));
    match paragraphs.iter().find_map(|paragraph| paragraph.strip_prefix("Usage: ")) {
        Some(usage) => format!("{wrong}; usage: {usage}"),
        None => format!("{wrong}; see: {program} --help"),
    }
}

fn squeeze(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(|c: char| c.is_control(), "?")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Container, System};

    fn told<A: Parser>(line: &[&str]) -> String {
        one_line(line[0], &A::try_parse_from(line).err().unwrap().to_string())
    }

    #[test]
    fn one_line_names_what_is_wrong_and_how_it_is_done() {
        for (line, wanted) in [
            (
                vec!["container", "id", "-v"],
                "unexpected argument '-v' found; usage: container id [OPTIONS] <NAME>",
            ),
            (
                vec!["container", "start", "stop", "snmp"],
                "unexpected argument 'snmp' found; usage: container start [OPTIONS] <NAME>",
            ),
            (
                vec!["container", "frob", "snmp"],
                "unrecognized subcommand 'frob'; usage: container [OPTIONS] <COMMAND>",
            ),
            (
                vec!["container", "stop"],
                "the following required arguments were not provided: <NAME>; usage: container stop <NAME>",
            ),
            (
                vec!["container", "id", "snmp", "-o", "xml"],
                "invalid value 'xml' for '--output <FORMAT>' [possible values: table, wide, json]; \
                 see: container --help",
            ),
            (
                vec!["container", "id", "snmp", "a\n\u{1b}b"],
                "unexpected argument 'a ?b' found; usage: container id [OPTIONS] <NAME>",
            ),
        ] {
            assert_eq!(told::<Container>(&line), wanted);
        }
        assert_eq!(
            told::<System>(&["system", "service", "start", "-v"]),
            "unexpected argument '-v' found; usage: system service start [OPTIONS] <NAME>"
        );
    }
}
