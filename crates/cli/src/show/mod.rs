//! `switchyard show …`: the part of SONiC's `show` that is about features and Kubernetes (SONIC.md 9.4, 9.5).
//!
//! The tables are SONiC's, byte for byte, since scripts cut them into columns; `-o wide` and `-o json` say more. Rows
//! are shown as they stand there, garbage too: these are the commands with which it is found.

mod args;
mod feature;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "kubernetes")]
mod why;

use std::process::ExitCode;

pub(crate) use args::Show;

use crate::click::answer;
use crate::error::CliError;
use args::ShowArea;

/// Answers one question.
pub(crate) fn main(args: &Show) -> Result<ExitCode, CliError> {
    match &args.area {
        ShowArea::Feature { verb } => answer(feature::main(verb, args.output)),
        #[cfg(feature = "kubernetes")]
        ShowArea::Kubernetes { verb } => kubernetes::main(verb, args.output),
    }
}

/// A value on one line, whatever it is.
fn cell(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "?")
}
