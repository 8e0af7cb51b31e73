//! Which keys an SSH server may show: the files that `ssh` itself keeps, read as sshd(8) describes them.
//!
//! Strict: a server that is in none of them is refused, and so is one whose key is another than written there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use russh::keys::{Algorithm, HashAlg, PublicKey, parse_public_key_base64};

use super::super::FetchError;
use super::super::connect::Server;
use super::PORT;

/// All lines of all files.
pub(super) struct KnownHosts {
    lines: Vec<Line>,
}

struct Line {
    file: PathBuf,
    number: usize,
    is_revoked: bool,
    hosts: String,
    key: PublicKey,
}

impl KnownHosts {
    /// Reads the files that are there.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, FetchError> {
        let mut lines = Vec::new();
        for file in files {
            match fs::read(file) {
                Ok(bytes) => lines.extend(parse(file, &String::from_utf8_lossy(&bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FetchError::file(file, "read", error)),
            }
        }
        Ok(Self { lines })
    }

    /// What is known of one server.
    pub(super) fn of(self, server: &Server) -> Known {
        let name = match server.port {
            PORT => server.host.clone(),
            port => format!("[{}]:{port}", server.host),
        };
        let lines = self.lines.into_iter().filter(|line| names(&line.hosts, &name)).collect();
        let port = if server.port == PORT { String::new() } else { format!("-p {} ", server.port) };
        let keyscan = format!("ssh-keyscan {port}{}", server.host);
        Known { lines, server: server.shown(), keyscan }
    }
}

fn parse<'a>(file: &'a Path, text: &'a str) -> impl Iterator<Item = Line> + 'a {
    text.lines().enumerate().filter_map(move |(at, line)| {
        let mut fields = line.split_whitespace().peekable();
        let is_revoked = match *fields.peek()? {
            "@revoked" => fields.next().is_some(),
            // Certificates are not asked for, so what signs them is of no use.
            marker if marker.starts_with(['@', '#']) => return None,
            _ => false,
        };
        let (hosts, _, key) = (fields.next()?, fields.next()?, fields.next()?);
        let key = parse_public_key_base64(key).ok()?;
        Some(Line { file: file.to_owned(), number: at + 1, is_revoked, hosts: hosts.to_owned(), key })
    })
}

/// Whether a line's first field is about this server.
fn names(field: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in field.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, name) => return false,
            Some(_) => {}
            None => found |= is_hashed(pattern, name).unwrap_or_else(|| matches(pattern, name)),
        }
    }
    found
}

/// `|1|salt|hash`: nothing if the pattern is written plainly.
fn is_hashed(pattern: &str, name: &str) -> Option<bool> {
    let (salt, hash) = pattern.strip_prefix("|1|")?.split_once('|')?;
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return Some(false) };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    Some(hmac::verify(&key, name.as_bytes(), &hash).is_ok())
}

/// `*` is any text and `?` any one character. Grows with the product of both lengths at most.
fn matches(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.to_ascii_lowercase().chars().collect();
    // Which beginnings of the name the pattern so far fits.
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    for wanted in pattern.to_ascii_lowercase().chars() {
        let before = fits.clone();
        fits[0] = wanted == '*' && before[0];
        for at in 1..fits.len() {
            fits[at] = match wanted {
                '*' => before[at] || fits[at - 1],
                '?' => before[at - 1],
                c => before[at - 1] && name[at - 1] == c,
            };
        }
    }
    fits[name.len()]
}

/// What is known of one server.
pub(super) struct Known {
    lines: Vec<Line>,
    server: String,
    keyscan: String,
}

impl Known {
    /// The kinds of keys, those first that this server is known by.
    pub(super) fn ordered(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let is_known = |kind: &Algorithm| {
            self.lines
                .iter()
                .filter(|line| !line.is_revoked)
                .any(|line| is_same_kind(kind, &line.key.algorithm()))
        };
        let (known, others): (Vec<_>, Vec<_>) = all.iter().cloned().partition(is_known);
        known.into_iter().chain(others).collect()
    }

    /// Whether the server may show this key.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), FetchError> {
        let server = self.server.clone();
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let is_same = |line: &&Line| line.key.key_data() == key.key_data();
        if let Some(line) = self.lines.iter().filter(|line| line.is_revoked).find(is_same) {
            return Err(FetchError::RevokedHostKey { server, file: line.file.clone(), line: line.number });
        }
        let valid = || self.lines.iter().filter(|line| !line.is_revoked);
        if valid().any(|line| is_same(&line)) {
            return Ok(());
        }
        let of_kind = |line: &&Line| is_same_kind(&line.key.algorithm(), &key.algorithm());
        match valid().find(of_kind) {
            Some(line) => {
                let (file, line) = (line.file.clone(), line.number);
                Err(FetchError::ChangedHostKey { server, fingerprint, file, line })
            }
            None => Err(FetchError::UnknownHostKey {
                server,
                algorithm: key.algorithm().to_string(),
                fingerprint,
                keyscan: self.keyscan.clone(),
            }),
        }
    }
}

/// An RSA key is the same kind whatever hash it signs with.
fn is_same_kind(one: &Algorithm, other: &Algorithm) -> bool {
    matches!((one, other), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
    const HASHED: &str = "|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak=";
    const OF_HASHED: &str = "AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn check(text: &str, host: &str, port: u16, key: &str) -> Result<(), FetchError> {
        let lines = parse(Path::new("kh"), text).collect();
        let known = KnownHosts { lines }.of(&Server { host: host.to_owned(), port });
        known.check(&parse_public_key_base64(key).unwrap())
    }

    #[test]
    fn a_known_key_is_accepted_however_its_line_is_written() {
        for (text, host, port) in [
            (format!("files.example.com ssh-ed25519 {ONE} comment"), "files.example.com", 22),
            (format!("a,files.example.com,b\tssh-ed25519\t{ONE}"), "files.example.com", 22),
            (format!("[10.0.0.5]:2222 ssh-ed25519 {ONE}"), "10.0.0.5", 2222),
            (format!("[fd00::5]:2222 ssh-ed25519 {ONE}"), "fd00::5", 2222),
            (format!("*.example.com,!bad.example.com ssh-ed25519 {ONE}"), "files.example.com", 22),
            (format!("h?st ssh-ed25519 {OTHER}\nhost ssh-ed25519 {ONE}"), "host", 22),
        ] {
            assert!(check(&text, host, port, ONE).is_ok(), "{text}");
        }
        assert!(check(&format!("{HASHED} ssh-ed25519 {OF_HASHED}"), "example.com", 22, OF_HASHED).is_ok());
    }

    #[test]
    fn a_stranger_a_changed_and_a_revoked_key_are_told_apart() {
        let unknown = |text: &str, host, port| {
            let error = check(text, host, port, ONE).unwrap_err();
            assert!(matches!(error, FetchError::UnknownHostKey { .. }), "{text}: {error}");
            error.to_string()
        };
        for text in [
            String::new(),
            format!("#files ssh-ed25519 {ONE}"),
            format!("files2 ssh-ed25519 {ONE}"),
            format!("*,!files ssh-ed25519 {ONE}"),
            format!("@cert-authority files ssh-ed25519 {ONE}"),
            "files ssh-ed25519 garbage".to_owned(),
            format!("{HASHED} ssh-ed25519 {ONE}"),
        ] {
            unknown(&text, "files", 22);
        }
        let said = unknown(&format!("files ssh-ed25519 {ONE}"), "files", 2222);
        assert!(said.contains("SHA256:") && said.contains("ssh-keyscan -p 2222 files"), "{said}");
        let changed = check(&format!("\nfiles ssh-ed25519 {OTHER}"), "files", 22, ONE).unwrap_err();
        assert!(matches!(changed, FetchError::ChangedHostKey { line: 2, .. }), "{changed}");
        let text = format!("files ssh-ed25519 {ONE}\n@revoked * ssh-ed25519 {ONE}");
        let revoked = check(&text, "files", 22, ONE).unwrap_err();
        assert!(matches!(revoked, FetchError::RevokedHostKey { line: 2, .. }), "{revoked}");
    }
}
