//! Where a secret comes from: a terminal that does not show it, standard input, or a file of its owner's alone. Never
//! the command line, which everybody can read.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use switchyard_cluster::InvitationCertificate;
use switchyard_sonic::{TOKEN_MAX, Token};

use super::args::TokenSource;
use crate::click::Stop;
use crate::error::CliError;
use crate::terminal;

/// More than a chain of certificates and a key have.
const CERTIFICATE_MAX: usize = 64 * 1024;

/// The token that was asked for.
pub(super) fn read(source: &TokenSource) -> Result<Token, Stop> {
    let text = match &source.token_file {
        Some(path) => from_file(path, TOKEN_MAX)?,
        None if source.token_stdin => {
            terminal::bounded(io::stdin(), TOKEN_MAX).map_err(|error| failed("read", "-", error))?
        }
        None if terminal::is_there() => from_terminal()?,
        None => {
            return Err(CliError::Usage(
                "there is no terminal at which to ask for the token: use --token-stdin or --token-file"
                    .to_owned(),
            )
            .into());
        }
    };
    Token::parse(&text).map_err(|error| Stop::refused(&error))
}

/// The client certificate in a file, with its key, which may be in a file of its own.
pub(super) fn read_certificate(
    certificate: &Path,
    key: Option<&Path>,
) -> Result<InvitationCertificate, Stop> {
    let text = match key {
        None => from_file(certificate, CERTIFICATE_MAX)?,
        Some(key) => {
            let open = File::open(certificate).map_err(|error| failed("read", certificate, error))?;
            let shown = terminal::bounded(open, CERTIFICATE_MAX);
            let shown = shown.map_err(|error| failed("read", certificate, error))?;
            format!("{}\n{}", shown.trim_end(), from_file(key, CERTIFICATE_MAX)?)
        }
    };
    InvitationCertificate::parse(&text).map_err(|error| Stop::refused(&error))
}

fn failed(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Stop {
    CliError::File { action, path: path.as_ref().to_owned(), source }.into()
}

fn from_file(path: &Path, max: usize) -> Result<String, Stop> {
    let file = File::open(path).map_err(|error| failed("read", path, error))?;
    let about = file.metadata().map_err(|error| failed("read", path, error))?;
    // A pipe has no readers but us.
    if about.is_file() && about.permissions().mode() & 0o077 != 0 {
        return Err(Stop::refused(&format!("others may read {0}: chmod 600 {0}", path.display())));
    }
    terminal::bounded(file, max).map_err(|error| failed("read", path, error))
}

fn from_terminal() -> Result<String, Stop> {
    terminal::secret("Token", TOKEN_MAX)
        .map_err(|error| failed("read", "the terminal", error))?
        .ok_or_else(|| Stop::refused(&"nothing was given: the token is as it was"))
}
