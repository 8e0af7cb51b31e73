//! What the switch was given to be let in by: a token or a client certificate, on /host, so that it outlives the SONiC
//! image. Which program shows it to the cluster decides what may stand in it.

use std::path::{Path, PathBuf};

use switchyard_core::NodeProgram;

use crate::credential::{Credential, InvitationCertificate};
use crate::error::ClusterError;
use crate::place::{self, Readers};
use crate::token::{K3sToken, Token};

pub(crate) const SAVED: &str = "host/switchyard/kubernetes";
const TOKEN: &str = "token";
const CERTIFICATE: &str = "client.pem";

/// The place where it is kept.
#[derive(Debug, Clone)]
pub struct SavedCredential {
    directory: PathBuf,
}

impl SavedCredential {
    /// The place below this root, which is `/` but for tests.
    pub fn below(root: &Path) -> Self {
        Self { directory: root.join(SAVED) }
    }

    /// Keeps this for root alone, in place of whatever there was before.
    pub fn save(&self, credential: &Credential) -> Result<(), ClusterError> {
        let (name, text, other) = match credential {
            Credential::Token(token) => (TOKEN, token.reveal(), CERTIFICATE),
            Credential::K3s(token) => (TOKEN, token.reveal().to_owned(), CERTIFICATE),
            Credential::Certificate(certificate) => (CERTIFICATE, certificate.reveal().to_owned(), TOKEN),
        };
        place::write(&self.path(name), text.as_bytes(), Readers::Root)?;
        place::remove(&self.path(other)).map(drop)
    }

    /// What was kept to be shown by this program. None if there is nothing; a text that it cannot show is said.
    pub fn read(&self, program: NodeProgram) -> Result<Option<Credential>, ClusterError> {
        let path = self.path(TOKEN);
        let Some(text) = place::read(&path)? else {
            return Ok(self.certificate()?.map(Credential::Certificate));
        };
        let token = match program {
            NodeProgram::Kubelet => Token::parse(&text).map(Credential::Token),
            NodeProgram::K3s => K3sToken::parse(&text).map(Credential::K3s),
        };
        token.map(Some).map_err(|error| ClusterError::file(&path, "used", error))
    }

    /// The client certificate that was kept.
    pub fn certificate(&self) -> Result<Option<InvitationCertificate>, ClusterError> {
        let path = self.path(CERTIFICATE);
        let Some(text) = place::read(&path)? else { return Ok(None) };
        let read = InvitationCertificate::parse(&text);
        read.map(Some).map_err(|error| ClusterError::file(&path, "used", error))
    }

    /// Forgets the client certificate that was kept. False if there was none.
    pub fn forget_certificate(&self) -> Result<bool, ClusterError> {
        place::remove(&self.path(CERTIFICATE))
    }

    /// Forgets whichever was kept.
    pub fn forget(&self) -> Result<(), ClusterError> {
        place::remove(&self.path(TOKEN))?;
        self.forget_certificate().map(drop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const BOOTSTRAP: &str = "abcdef.0123456789abcdef";

    fn place() -> (tempfile::TempDir, SavedCredential) {
        let root = tempfile::tempdir().unwrap();
        let saved = SavedCredential::below(root.path());
        fs::create_dir_all(root.path().join(SAVED)).unwrap();
        (root, saved)
    }

    #[test]
    fn the_same_words_are_a_token_of_either_program_and_for_root_alone() {
        let (root, saved) = place();
        let token = Credential::Token(Token::parse(BOOTSTRAP).unwrap());
        saved.save(&token).unwrap();
        assert_eq!(saved.read(NodeProgram::Kubelet).unwrap(), Some(token));
        let k3s = Credential::K3s(K3sToken::parse(BOOTSTRAP).unwrap());
        assert_eq!(saved.read(NodeProgram::K3s).unwrap(), Some(k3s));
        let mode = fs::metadata(root.path().join(SAVED).join(TOKEN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        saved.forget().unwrap();
        saved.forget().unwrap();
        assert_eq!(saved.read(NodeProgram::Kubelet).unwrap(), None);
    }

    #[test]
    fn a_text_that_the_program_cannot_show_is_told_without_being_repeated() {
        let (root, saved) = place();
        for (text, program) in [("s3cret junk", NodeProgram::K3s), ("K10::node:s3cret", NodeProgram::Kubelet)]
        {
            fs::write(root.path().join(SAVED).join(TOKEN), text).unwrap();
            let error = saved.read(program).unwrap_err().to_string();
            assert!(error.contains("/token") && !error.contains("s3cret"), "{error}");
        }
    }
}
