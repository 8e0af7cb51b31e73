//! scp and sftp from OpenSSH's own server.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use switchyard_core::tpc::{Protocol, Secret, Source, SshOptions};
use switchyard_tpc::fetch::{FetchError, Login, pending};

use super::sshd::{Offer, PASSWORD, Sshd, USER, USUAL, wire};
use super::{Case, Told, content, read};

const BOTH: [Protocol; 2] = [Protocol::Scp, Protocol::Sftp];

/// A download that would succeed with the password.
fn case(sshd: &Sshd, protocol: Protocol, path: &str, port: u16) -> Case {
    let mut case = Case::new("/none");
    let options = SshOptions {
        protocol: Some(protocol),
        server: Some("127.0.0.1".to_owned()),
        port: Some(port),
        username: Some(USER.to_owned()),
    };
    case.source = Source::parse(path, &options).unwrap();
    case.known_hosts = vec![PathBuf::from("/no/such/file"), sshd.known_at(port)];
    case.login.password = Some(Secret::new(PASSWORD));
    // The server checks a password slowly, by intent.
    case.patience.stall = Duration::from_secs(20);
    case
}

#[tokio::test]
async fn a_file_is_fetched_with_a_password_or_a_key_by_both_protocols() {
    let sshd = Sshd::start(&USUAL);
    let bytes = content(3_000_000);
    let name = "it's a $(file) \"of\" ;mine.tar";
    let absolute = sshd.put(name, &bytes);
    sshd.put("-r", b"an option?");
    sshd.put("empty", b"");
    for protocol in BOTH {
        let mut told = Told::default();
        let by_password = case(&sshd, protocol, name, sshd.port);
        let fetched = by_password.fetch_with(&mut told).await.unwrap();
        assert_eq!(read(&fetched.path), bytes, "{protocol}");
        assert_eq!((told.total, told.done), (Some(3_000_000), 3_000_000));
        for (key, passphrase) in [("key", None), ("rsa", None), ("locked", Some(Secret::new("open sesame")))]
        {
            let mut case = case(&sshd, protocol, absolute.to_str().unwrap(), sshd.port);
            case.login =
                Login { keys: vec![sshd.path("stranger"), sshd.path(key)], passphrase, password: None };
            if key == "locked" {
                case.login.keys.remove(0);
            }
            assert_eq!(read(&case.fetch().await.unwrap().path), bytes, "{protocol} {key}");
        }
        let odd = case(&sshd, protocol, "-r", sshd.port);
        assert_eq!(read(&odd.fetch().await.unwrap().path), b"an option?");
        assert_eq!(case(&sshd, protocol, "empty", sshd.port).fetch().await.unwrap().size, Some(0));
    }
}

#[tokio::test]
async fn a_wrong_login_is_told_by_its_kind() {
    let sshd = Sshd::start(&USUAL);
    sshd.put("i", b"x");
    let mut case = case(&sshd, Protocol::Sftp, "i", sshd.port);
    case.login.password = Some(Secret::new("hunter2"));
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::WrongPassword { .. }) && !format!("{error:?}").contains("hunter2"));
    case.login = Login { keys: vec![sshd.path("stranger")], ..Login::default() };
    assert!(matches!(case.fetch().await.unwrap_err(), FetchError::KeyRefused { .. }));
    case.login = Login::default();
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(&error, FetchError::NoLogin { methods, .. } if methods.contains("password")), "{error}");
    for key in ["locked", "none", "config"] {
        case.login.keys = vec![sshd.path(key)];
        let error = case.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::KeyFile { .. }), "{error}");
    }
}

#[tokio::test]
async fn only_a_server_that_is_known_is_spoken_to() {
    let sshd = Sshd::start(&USUAL);
    sshd.put("i", b"x");
    let mut case = case(&sshd, Protocol::Scp, "i", sshd.port);
    case.known_hosts = Vec::new();
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::UnknownHostKey { .. }), "{error}");
    let shown =
        std::process::Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host.pub")).output().unwrap();
    let fingerprint = String::from_utf8(shown.stdout).unwrap().split(' ').nth(1).unwrap().to_owned();
    assert!(error.to_string().contains(&fingerprint), "{error} has no {fingerprint}");
    assert!(error.to_string().contains(&format!("ssh-keyscan -p {} 127.0.0.1", sshd.port)), "{error}");
    // What the command in the error prints is what is wanted.
    let port = sshd.port.to_string();
    let scan = std::process::Command::new("ssh-keyscan").args(["-p", &port, "127.0.0.1"]).output().unwrap();
    std::fs::write(sshd.path("scanned"), scan.stdout).unwrap();
    case.known_hosts = vec![sshd.path("scanned")];
    assert!(case.fetch().await.is_ok());
    let other = Sshd::start(&USUAL);
    let key = std::fs::read_to_string(other.path("host.pub")).unwrap();
    std::fs::write(sshd.path("other"), format!("[127.0.0.1]:{port} {key}")).unwrap();
    case.known_hosts = vec![sshd.path("other")];
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::ChangedHostKey { line: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_server_with_an_rsa_key_and_without_sftp_serves_by_scp() {
    let sshd = Sshd::start(&Offer { host_key: "rsa", sftp: false, ..USUAL });
    sshd.put("i", b"x");
    assert!(case(&sshd, Protocol::Scp, "i", sshd.port).fetch().await.is_ok());
    let error = case(&sshd, Protocol::Sftp, "i", sshd.port).fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NotOffered { other: "scp", .. }), "{error}");
}

#[tokio::test]
async fn a_server_without_scp_says_so() {
    let sshd = Sshd::start(&Offer { path: "/nowhere", ..USUAL });
    sshd.put("i", b"x");
    let error = case(&sshd, Protocol::Scp, "i", sshd.port).fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NotOffered { other: "sftp", .. }), "{error}");
    assert!(case(&sshd, Protocol::Sftp, "i", sshd.port).fetch().await.is_ok());
}

#[tokio::test]
async fn what_is_no_file_there_is_told_by_both_protocols() {
    use std::os::unix::fs::PermissionsExt;

    let sshd = Sshd::start(&USUAL);
    let secret = sshd.put("secret", b"x");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir(sshd.path("home").join("directory")).unwrap();
    for protocol in BOTH {
        for (path, word) in [("none", "o such file"), ("secret", "read"), ("directory", "file")] {
            let case = case(&sshd, protocol, path, sshd.port);
            let error = case.fetch().await.unwrap_err();
            let is_told = matches!(error, FetchError::Remote { .. });
            assert!(
                is_told && (error.to_string().contains(word) || path == "secret"),
                "{protocol} {path}: {error}"
            );
            assert_eq!(case.left(), 0);
        }
    }
}

#[tokio::test]
async fn a_cut_wire_is_gone_on_with_by_sftp_and_begun_anew_by_scp() {
    let sshd = Sshd::start(&USUAL);
    let bytes = content(1_000_000);
    sshd.put("i", &bytes);
    for (protocol, most) in [(Protocol::Sftp, 1_700_000), (Protocol::Scp, 3_000_000)] {
        let cut = wire(sshd.port, 600_000, 2, false).await;
        let case = case(&sshd, protocol, "i", cut.port);
        assert_eq!(read(&case.fetch().await.unwrap().path), bytes, "{protocol}");
        let passed = cut.passed.load(Ordering::Relaxed);
        assert!(passed < most, "{protocol}: {passed} bytes came for a million");
    }
}

#[tokio::test]
async fn a_wire_that_stalls_is_given_up_and_sftp_keeps_what_came() {
    let sshd = Sshd::start(&USUAL);
    sshd.put("i", &content(1_000_000));
    for protocol in BOTH {
        let stalling = wire(sshd.port, 600_000, usize::MAX, true).await;
        let mut case = case(&sshd, protocol, "i", stalling.port);
        // An sshd that is busy takes its time to let somebody in as well.
        case.patience.stall = Duration::from_secs(8);
        case.patience.attempts = 1;
        let error = case.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::Stalled { .. }), "{protocol}: {error}");
        let kept = pending(&case.downloads()).unwrap();
        assert_eq!(kept.iter().any(|kept| kept.bytes > 300_000), protocol == Protocol::Sftp, "{kept:?}");
    }
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_not_begun() {
    let sshd = Sshd::start(&USUAL);
    sshd.put("i", &content(10_000));
    for protocol in BOTH {
        let mut case = case(&sshd, protocol, "i", sshd.port);
        case.room = Box::new(|| Ok(9_999));
        let error = case.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::NoSpace { needed: Some(10_000), .. }), "{protocol}: {error}");
        assert_eq!(case.left(), 0);
    }
}

#[tokio::test]
async fn what_is_no_ssh_server_is_told() {
    let server = super::server::Server::start(|_, _| unreachable!("it is never asked in HTTP")).await;
    let sshd = Sshd::start(&USUAL);
    let mut case = case(&sshd, Protocol::Sftp, "i", server.address.port());
    case.patience.connect = Duration::from_millis(500);
    case.patience.attempts = 1;
    let error = case.fetch().await.unwrap_err();
    assert!(
        matches!(error, FetchError::NoAnswer { .. } | FetchError::Protocol { .. } | FetchError::Cut { .. }),
        "{error}"
    );
}
