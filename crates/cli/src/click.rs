//! How SONiC's Click commands end: a refusal is in their own words, without a program's name before them, and bears 1.
//! Scripts of operators look for both.

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::tell;

/// What a refusal bears.
const REFUSED: u8 = 1;

/// Why a command ends before its work is done.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What was asked for cannot be; these are the words for it.
    Refused(String),
    /// Something that is needed does not work.
    Failed(CliError),
}

impl Stop {
    /// A refusal, in words that may have been typed by somebody in part; they stay on one line.
    pub(crate) fn refused(words: &impl ToString) -> Self {
        Self::Refused(words.to_string().replace(|c: char| c.is_control(), "?"))
    }
}

impl<E> From<E> for Stop
where
    CliError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Says why a command was refused, if it was.
pub(crate) fn answer(result: Result<ExitCode, Stop>) -> Result<ExitCode, CliError> {
    match result {
        Ok(code) => Ok(code),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Refused(words)) => {
            tell(&words);
            Ok(ExitCode::from(REFUSED))
        }
    }
}
