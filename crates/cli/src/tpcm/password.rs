//! Where a password comes from: a terminal that does not show it, standard input, or, with a word about who can read
//! it there, the command line.

use std::io;

use super::args::From;
use crate::error::CliError;
use crate::output::tell;
use crate::terminal;

/// Longer than any password that a server takes.
const MAX: usize = 1024;

/// The password that was given, or is asked for because `needed`; none otherwise.
pub(super) fn read(from: &From, needed: bool) -> Result<Option<String>, CliError> {
    let failed = |path: &str| {
        let path = path.into();
        move |source| CliError::File { action: "read", path, source }
    };
    let text = if let Some(password) = &from.password {
        tell("tpcm: --password can be read in the list of processes; --password-stdin cannot");
        password.clone()
    } else if from.password_stdin {
        let text = terminal::bounded(io::stdin(), MAX).map_err(failed("standard input"))?;
        text.lines().next().unwrap_or_default().to_owned()
    } else if needed && terminal::is_there() {
        let given_up = || CliError::NotConfirmed("no password was given; nothing was changed".to_owned());
        terminal::secret("Password", MAX).map_err(failed("the terminal"))?.ok_or_else(given_up)?
    } else {
        return Ok(None);
    };
    if text.is_empty() || text.len() > MAX || text.contains('\0') {
        return Err(CliError::Usage(format!("a password has 1 to {MAX} characters")));
    }
    Ok(Some(text))
}
