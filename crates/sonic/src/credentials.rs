//! What a join needs beside the rows: the token and the pin of the cluster's CA, below `/host/switchyard/kubernetes`,
//! so that they outlive a SONiC image. The token is a secret and never goes into CONFIG_DB, which anybody may read.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use switchyard_core::CaPin;

use crate::{Paths, SonicError};

const TOKEN: &str = "token";
const PIN: &str = "ca-pin";
const HINT: &str = "set it again with: config kubernetes server token, config kubernetes server ca-pin";

/// Longer than any token: a kubeadm one has 23 characters, a k3s one about 150, a JSON Web Token some 1500.
pub const TOKEN_MAX: usize = 8192;

/// What a switch shows to be let in, whichever kind: only a join asks for a bootstrap token. Its text is never printed: there is no `Display`, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is no token. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Nothing was given.
    #[error("the token is empty")]
    Empty,
    /// Too much was given.
    #[error("the token has more than {TOKEN_MAX} characters")]
    TooLong,
    /// Something that cannot stand in a header.
    #[error("the token has white space or other characters in it that no token has")]
    BadCharacter,
}

impl Token {
    /// Takes visible ASCII characters; white space around them is not part of it.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let text = text.trim_ascii();
        match text {
            "" => Err(BadToken::Empty),
            _ if text.len() > TOKEN_MAX => Err(BadToken::TooLong),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(BadToken::BadCharacter),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The secret itself.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// The place where both are kept.
#[derive(Debug, Clone)]
pub struct Credentials {
    directory: PathBuf,
}

impl Credentials {
    /// Those of this switch. Nothing is touched yet.
    pub fn of(paths: &Paths) -> Self {
        Self { directory: paths.host.join("switchyard/kubernetes") }
    }

    /// The token, if one was given.
    pub fn token(&self) -> Result<Option<Token>, SonicError> {
        self.read(TOKEN)?.map(|text| Token::parse(&text).map_err(|why| self.broken(TOKEN, &why))).transpose()
    }

    /// Keeps a token, in place of one that was kept before.
    pub fn set_token(&self, token: &Token) -> Result<(), SonicError> {
        self.replace(TOKEN, token.secret())
    }

    /// Forgets the token. False if there is none.
    pub fn remove_token(&self) -> Result<bool, SonicError> {
        self.remove(TOKEN)
    }

    /// The pin, if one was given.
    pub fn ca_pin(&self) -> Result<Option<CaPin>, SonicError> {
        self.read(PIN)?
            .map(|text| CaPin::parse(text.trim_ascii()).map_err(|why| self.broken(PIN, &why)))
            .transpose()
    }

    /// Keeps a pin, in place of one that was kept before.
    pub fn set_ca_pin(&self, pin: &CaPin) -> Result<(), SonicError> {
        self.replace(PIN, &pin.to_string())
    }

    /// Forgets the pin. False if there is none.
    pub fn remove_ca_pin(&self) -> Result<bool, SonicError> {
        self.remove(PIN)
    }

    fn read(&self, name: &str) -> Result<Option<String>, SonicError> {
        let file = self.directory.join(name);
        let mut text = String::new();
        // A file that somebody else has put there must not fill the memory.
        let limit = u64::try_from(TOKEN_MAX).unwrap_or(u64::MAX) + 2;
        match File::open(&file).and_then(|file| file.take(limit).read_to_string(&mut text)) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SonicError::FileUnreadable { file, source }),
        }
    }

    /// The new text is there whole or not at all, also after a power cut.
    fn replace(&self, name: &str, text: &str) -> Result<(), SonicError> {
        let new = self.directory.join(format!("{name}.new"));
        let written = self.prepare().and_then(|()| write_secret(&new, text)).and_then(|()| {
            fs::rename(&new, self.directory.join(name))?;
            File::open(&self.directory)?.sync_all()
        });
        written.map_err(|source| SonicError::FileUnwritable { file: self.directory.join(name), source })
    }

    fn remove(&self, name: &str) -> Result<bool, SonicError> {
        let file = self.directory.join(name);
        match fs::remove_file(&file).and_then(|()| File::open(&self.directory)?.sync_all()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(SonicError::FileUnwritable { file, source }),
        }
    }

    /// The directory is its owner's alone, whoever made it. A link that stands in its place is not followed.
    fn prepare(&self) -> io::Result<()> {
        if let Some(parent) = self.directory.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if !fs::symlink_metadata(&self.directory)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "its directory is a link or a file"));
        }
        // The directory above hands its group down.
        fs::set_permissions(&self.directory, Permissions::from_mode(0o700))
    }

    fn broken(&self, name: &str, why: &impl fmt::Display) -> SonicError {
        SonicError::FileBroken { file: self.directory.join(name), why: why.to_string(), hint: HINT }
    }
}

fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    // Left by one that was killed; a file that exists would keep its own mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SECRET: &str = "abcdef.0123456789abcdef";

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn place() -> (tempfile::TempDir, Credentials, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let credentials = Credentials::of(&Paths::below(root.path()));
        let directory = root.path().join("host/switchyard/kubernetes");
        (root, credentials, directory)
    }

    #[test]
    fn a_token_is_kept_for_its_owner_alone_and_replaced_whole() {
        let (_root, credentials, directory) = place();
        assert_eq!(credentials.token().unwrap(), None);
        assert!(!credentials.remove_token().unwrap());
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o2775)).unwrap();
        fs::write(directory.join("token.new"), "left by one that was killed").unwrap();
        for text in ["first", SECRET] {
            credentials.set_token(&Token::parse(text).unwrap()).unwrap();
            assert_eq!(credentials.token().unwrap().unwrap().secret(), text);
        }
        assert_eq!((mode(&directory), mode(&directory.join("token"))), (0o700, 0o600));
        assert_eq!(fs::read_to_string(directory.join("token")).unwrap(), format!("{SECRET}\n"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left over");
        assert!(credentials.remove_token().unwrap());
        assert_eq!(credentials.token().unwrap(), None);
    }

    #[test]
    fn a_secret_does_not_follow_a_link() {
        let (root, credentials, directory) = place();
        let elsewhere = root.path().join("elsewhere");
        fs::create_dir_all(&elsewhere).unwrap();
        fs::create_dir_all(directory.parent().unwrap()).unwrap();
        symlink(&elsewhere, &directory).unwrap();
        let error = credentials.set_token(&Token::parse(SECRET).unwrap()).unwrap_err().to_string();
        assert!(error.contains("is a link") && !error.contains(SECRET), "{error}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[test]
    fn a_token_does_not_show() {
        let token = Token::parse(&format!(" {SECRET}\n")).unwrap();
        assert_eq!(token.secret(), SECRET);
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        for (text, why) in [
            ("", BadToken::Empty),
            (" \n", BadToken::Empty),
            ("a b", BadToken::BadCharacter),
            ("a\nb", BadToken::BadCharacter),
            ("ä", BadToken::BadCharacter),
            (&"x".repeat(TOKEN_MAX + 1), BadToken::TooLong),
        ] {
            assert_eq!(Token::parse(text), Err(why));
        }
    }

    #[test]
    fn a_file_that_is_no_token_is_told_without_its_text() {
        let (_root, credentials, directory) = place();
        fs::create_dir_all(&directory).unwrap();
        for garbage in ["", "se cret", &"s".repeat(1_000_000)] {
            fs::write(directory.join("token"), garbage).unwrap();
            let error = credentials.token().unwrap_err().to_string();
            assert!(error.contains("/token is broken") && !error.contains("ecret"), "{error}");
        }
        fs::write(directory.join("ca-pin"), "sha256:12").unwrap();
        assert!(credentials.ca_pin().unwrap_err().to_string().contains("64 hexadecimal digits"));
    }

    #[test]
    fn a_pin_is_kept_until_it_is_removed() {
        let pin = CaPin::parse(&format!("sha256:{}", "0af9".repeat(16))).unwrap();
        let (_root, credentials, _) = place();
        credentials.set_ca_pin(&pin).unwrap();
        assert_eq!(credentials.ca_pin().unwrap(), Some(pin));
        assert!(credentials.remove_ca_pin().unwrap());
        assert_eq!(credentials.ca_pin().unwrap(), None);
    }
}
