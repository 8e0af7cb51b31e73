use proptest::prelude::*;

use super::*;
use crate::Tag;

fn plain(text: &str) -> Result<Source, SourceError> {
    Source::parse(text, &SshOptions::default())
}

fn ssh(protocol: Protocol) -> SshOptions {
    SshOptions {
        protocol: Some(protocol),
        server: Some("files.example.com".to_owned()),
        port: None,
        username: Some("admin".to_owned()),
    }
}

#[test]
fn each_kind_of_source_is_told_by_its_text() {
    let digest = format!("r.example.com/a/b:1@sha256:{}", "a".repeat(64));
    for (text, kind) in [
        ("http://10.0.0.5/i.tar", "http"),
        ("HTTPS://user@Host:8443/i?token=1", "http"),
        ("scp://u@h/i.tar", "ssh"),
        ("sftp://u@[fd00::5]:2222/~/i.tar", "ssh"),
        ("/media/usb/i.tar.gz", "media"),
        ("./i", "media"),
        ("../i", "media"),
        ("i.tar.gz", "media"),
        ("images/i.tgz", "media"),
        ("file:///media/a%20b", "media"),
        ("nginx", "registry"),
        ("nginx:1.27", "registry"),
        ("localhost:5000/nginx", "registry"),
        ("r.example.com/a/b", "registry"),
        (&digest, "registry"),
    ] {
        let found = match plain(text).unwrap() {
            Source::Http(_) => "http",
            Source::Ssh(_) => "ssh",
            Source::Media(_) => "media",
            Source::Registry(_) => "registry",
        };
        assert_eq!(found, kind, "{text}");
    }
}

#[test]
fn what_is_shown_of_a_url_has_no_key_to_the_file_in_it() {
    let source = plain("https://me@host:8443/a/i.tar?X-Amz-Signature=key").unwrap();
    assert_eq!(source.shown(), "https://me@host:8443/a/i.tar");
    for text in ["http://h/i.tar", "scp://u@h/what?.tar", "/media/usb/what?.tar", "nginx:1.27"] {
        let source = plain(text).unwrap();
        assert_eq!(source.shown(), source.to_string());
    }
}

#[test]
fn an_ssh_file_says_the_same_by_options_and_by_url() {
    let by_options = Source::parse("/images/a b.tar", &ssh(Protocol::Scp)).unwrap();
    assert_eq!(by_options, plain("scp://admin@files.example.com:22/images/a%20b.tar").unwrap());
    let at_home = Source::parse("images/i.tar", &ssh(Protocol::Sftp)).unwrap();
    assert_eq!(at_home, plain("sftp://admin@files.example.com/~/images/i.tar").unwrap());
    let by_option = SshOptions { username: Some("admin".to_owned()), ..SshOptions::default() };
    assert_eq!(at_home, Source::parse("sftp://files.example.com/~/images/i.tar", &by_option).unwrap());
}

#[test]
fn a_reference_knows_its_registry_and_what_it_asks_for() {
    for (text, registry, path, tag) in [
        ("nginx", "docker.io", "nginx", Some("latest")),
        ("team/nginx:1", "docker.io", "team/nginx", Some("1")),
        ("localhost/nginx", "localhost", "nginx", Some("latest")),
        ("10.0.0.5:5000/a/b:2", "10.0.0.5:5000", "a/b", Some("2")),
    ] {
        let Source::Registry(reference) = plain(text).unwrap() else { panic!("{text} is no image") };
        assert_eq!((reference.registry(), reference.path()), (registry, path), "{text}");
        assert_eq!(reference.tag(), tag.map(|tag| Tag::parse(tag).unwrap()));
    }
    let Source::Registry(pinned) = plain(&format!("nginx@sha256:{}", "b".repeat(64))).unwrap() else {
        panic!()
    };
    assert_eq!((pinned.tag(), pinned.digest().is_some()), (None, true));
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    for url in ["http://u:hunter2@h/x", "sftp://u:hunter2@h/x", "https://u:hunter2@", "scp://u:hun@ter2@h/x"]
    {
        let error = plain(url).unwrap_err();
        assert_eq!(error, SourceError::Password);
        assert!(!error.to_string().contains("hunter2") && error.to_string().contains("--password-stdin"));
    }
}

#[test]
fn what_is_no_source_is_refused_in_one_line() {
    for text in [
        "",
        "ftp://h/x",
        "http://",
        "http://h",
        "http://h/",
        "http:///x",
        "https://h:0/x",
        "https://h:+1/x",
        "https://h:99999/x",
        "https://a b/x",
        "https://h/a b",
        "https://h/a\n",
        "https://h/%zz",
        "https://fd00::5/x",
        "https://1.2.3/x",
        "https://-h/x",
        "https://h/ä",
        "scp://h/x",
        "scp://u@h",
        "scp://u@h/",
        "scp://u@h/x/",
        "scp://-oProxyCommand=x@h/x",
        "sftp://u@h/a%00b",
        "sftp://u@h/a%0ab",
        "Nginx",
        "nginx:",
        "nginx:a:b",
        "nginx@sha256:1",
        "a//b",
        "-x",
        "a b",
    ] {
        let error = plain(text).expect_err(text).to_string();
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    }
}

#[test]
fn options_that_contradict_the_source_are_refused() {
    let error = |text, options: &SshOptions| Source::parse(text, options).unwrap_err().to_string();
    let server = SshOptions { server: Some("h".to_owned()), ..SshOptions::default() };
    assert!(error("/x", &server).contains("--server"));
    let port = SshOptions { port: Some(22), ..SshOptions::default() };
    assert!(error("http://h/x", &port).contains("--port"));
    assert!(error("scp://u@h/x", &ssh(Protocol::Scp)).contains("--protocol"));
    let user = SshOptions { username: Some("v".to_owned()), ..SshOptions::default() };
    assert!(error("scp://u@h/x", &user).contains("--username"));
    assert!(error("/x", &SshOptions { server: None, ..ssh(Protocol::Scp) }).contains("--server"));
    assert!(error("/x", &SshOptions { username: None, ..ssh(Protocol::Sftp) }).contains("--username"));
    assert!(
        error("/x", &SshOptions { server: Some("a b".to_owned()), ..ssh(Protocol::Sftp) }).contains("a b")
    );
}

#[test]
fn a_path_is_made_to_mean_the_same_everywhere() {
    let from = |text: &str| plain(text).unwrap().absolute("/home/admin/").to_string();
    assert_eq!(from("./i.tar"), "/home/admin/i.tar");
    assert_eq!(from("i.tar"), "/home/admin/i.tar");
    assert_eq!(from("../i"), "/home/admin/../i");
    assert_eq!(from("/i"), "/i");
    assert_eq!(from("nginx"), "nginx");
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_in_one_line(text in "\\PC{0,80}|[a-z:/@\\[\\].%0-9-]{0,60}", with_options: bool) {
        let options = if with_options { ssh(Protocol::Sftp) } else { SshOptions::default() };
        match Source::parse(&text, &options) {
            // What was taken is written so that it means the same, with nothing that a line or terminal acts on.
            Ok(source) => {
                let written = source.to_string();
                prop_assert!(!written.chars().any(char::is_control));
                prop_assert_eq!(plain(&written), Ok(source), "{}", written);
            }
            Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
        }
    }

    #[test]
    fn any_remote_path_comes_back_from_its_url(path in "/?[^/\\pC][^\\pC]{0,40}[^/\\pC]", user in "[a-zA-Z0-9_.@+\\\\%äö]{1,20}") {
        let options = SshOptions { username: Some(user), ..ssh(Protocol::Sftp) };
        if let Ok(source) = Source::parse(&path, &options) {
            prop_assert_eq!(plain(&source.to_string()), Ok(source));
        }
    }
}
