//! Logging in: keys in the order given, then the password, by whichever way the server asks for it.

use std::path::Path;
use std::sync::Arc;

use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Prompted};
use russh::keys::{PrivateKeyWithHashAlg, load_secret_key};
use switchyard_core::tpc::Secret;

use super::super::FetchError;
use super::super::error::one_line;
use super::{Gate, Session};

/// As often as a server may ask further questions of one login.
const QUESTIONS_MAX: usize = 8;

/// Logs in.
pub(super) async fn log_in(session: &mut Session<'_>, user: &str) -> Result<(), FetchError> {
    let login = &session.request.login;
    let server = session.server.clone();
    let ended = |error: russh::Error| FetchError::Protocol {
        server: server.clone(),
        why: format!("the login breaks off ({})", one_line(&error.to_string())),
    };
    let mut last_key = None;
    let first = session.handle.authenticate_none(user).await.map_err(ended)?;
    let AuthResult::Failure { remaining_methods: mut methods, .. } = first else { return Ok(()) };
    for path in &login.keys {
        if !methods.contains(&MethodKind::PublicKey) {
            break;
        }
        let key = key(path, login.passphrase.as_ref())?;
        let hash = if key.algorithm().is_rsa() {
            session.handle.best_supported_rsa_hash().await.map_err(ended)?.flatten()
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        match session.handle.authenticate_publickey(user, key).await.map_err(ended)? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => methods = remaining_methods,
        }
        last_key = Some(path.clone());
    }
    if let Some(password) = &login.password {
        if methods.contains(&MethodKind::Password) {
            let answer =
                session.handle.authenticate_password(user, password.expose()).await.map_err(ended)?;
            let AuthResult::Failure { remaining_methods, .. } = answer else { return Ok(()) };
            methods = remaining_methods;
        }
        if methods.contains(&MethodKind::KeyboardInteractive)
            && answer(&mut session.handle, user, password).await.map_err(ended)?
        {
            return Ok(());
        }
        return Err(FetchError::WrongPassword { server, user: user.to_owned() });
    }
    let user = user.to_owned();
    if let Some(key) = last_key {
        return Err(FetchError::KeyRefused { server, user, key });
    }
    let methods: Vec<&str> = methods.iter().map(<&str>::from).collect();
    Err(FetchError::NoLogin { server, user, methods: methods.join(" or ") })
}

fn key(path: &Path, passphrase: Option<&Secret>) -> Result<russh::keys::PrivateKey, FetchError> {
    load_secret_key(path, passphrase.map(Secret::expose)).map_err(|error| FetchError::KeyFile {
        path: path.to_owned(),
        why: match error {
            russh::keys::Error::KeyIsEncrypted => "it is encrypted, and no passphrase was given".to_owned(),
            error => one_line(&error.to_string()),
        },
    })
}

/// Many servers ask for the password as a question. What is asked openly is no password and gets none.
async fn answer(handle: &mut Handle<Gate>, user: &str, password: &Secret) -> Result<bool, russh::Error> {
    let mut said = handle.authenticate_keyboard_interactive_start(user, None::<String>).await?;
    for _ in 0..QUESTIONS_MAX {
        let prompts = match said {
            Prompted::Success => return Ok(true),
            Prompted::Failure { .. } => return Ok(false),
            Prompted::InfoRequest { prompts, .. } => prompts,
        };
        let answers = prompts
            .iter()
            .map(|prompt| if prompt.echo { String::new() } else { password.expose().to_owned() });
        said = handle.authenticate_keyboard_interactive_respond(answers.collect()).await?;
    }
    Ok(false)
}
