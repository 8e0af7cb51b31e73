//! A web server's ways to fail, and that each leaves the right file or the right error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use switchyard_core::tpc::Secret;
use switchyard_tpc::fetch::{FetchError, Login, Patience, Sha256, clear, pending};

use super::server::{Reply, Server, file};
use super::{Case, PATIENCE, Told, content, read};

const TAG: &str = "\"one\"";

#[tokio::test]
async fn a_file_arrives_whole_with_its_digest_and_leaves_nothing_when_it_was_read() {
    let bytes = content(300_000);
    let sent = bytes.clone();
    let server = Server::start(move |_, question| file(question, &sent, TAG, usize::MAX)).await;
    let case = Case::new(&server.url("/i.tar?token=1"));
    let mut told = Told::default();
    let fetched = case.fetch_with(&mut told).await.unwrap();
    assert_eq!(read(&fetched.path), bytes);
    assert_eq!((fetched.size, fetched.temporary), (Some(300_000), true));
    assert_eq!((told.total, told.done, told.messages.len()), (Some(300_000), 300_000, 0));
    assert_eq!(server.questions()[0].path(), "/i.tar?token=1");
    let sum = std::process::Command::new("sha256sum").arg(&fetched.path).output().unwrap();
    assert!(String::from_utf8(sum.stdout).unwrap().starts_with(&fetched.sha256.unwrap().to_string()));
    fetched.discard().unwrap();
    assert_eq!(case.left(), 0);
}

#[tokio::test]
async fn a_connection_cut_at_every_tenth_is_gone_on_with_and_no_byte_comes_twice() {
    let bytes = content(100_000);
    let sent = bytes.clone();
    let server = Server::start(move |_, question| file(question, &sent, TAG, 10_000)).await;
    let case = Case::new(&server.url("/i"));
    let mut told = Told::default();
    let fetched = case.fetch_with(&mut told).await.unwrap();
    assert_eq!(read(&fetched.path), bytes);
    let starts: Vec<_> = server.questions().iter().map(|question| question.from(TAG).unwrap_or(0)).collect();
    assert_eq!(starts, (0..10).map(|tenth| tenth * 10_000).collect::<Vec<_>>());
    assert_eq!((told.done, told.messages.len()), (100_000, 9));
}

#[tokio::test]
async fn the_next_command_goes_on_where_the_last_one_gave_up() {
    for tenth in 1..10 {
        let bytes = content(50_000);
        let sent = bytes.clone();
        let server = Server::start(move |number, question| {
            let max = if number == 0 { tenth * 5_000 } else { usize::MAX };
            file(question, &sent, TAG, max)
        })
        .await;
        let mut case = Case::new(&server.url("/i"));
        case.patience = Patience { attempts: 1, ..PATIENCE };
        let error = case.fetch().await.unwrap_err();
        assert!(
            matches!(error, FetchError::Cut { got, total: Some(50_000), .. } if got == tenth as u64 * 5_000)
        );
        let waiting = pending(&case.downloads()).unwrap();
        assert_eq!(
            (waiting[0].bytes, waiting[0].source.as_str()),
            (tenth as u64 * 5_000, server.url("/i").as_str())
        );
        let fetched = case.fetch().await.unwrap();
        assert_eq!(read(&fetched.path), bytes);
        assert_eq!(server.questions()[1].from(TAG), Some(tenth * 5_000));
    }
}

#[tokio::test]
async fn what_did_not_reach_the_disk_for_certain_is_fetched_again() {
    let bytes = content(50_000);
    let sent = bytes.clone();
    let server = Server::start(move |number, question| {
        file(question, &sent, TAG, if number == 0 { 20_000 } else { usize::MAX })
    })
    .await;
    let mut case = Case::new(&server.url("/i"));
    case.patience.attempts = 1;
    case.fetch().await.unwrap_err();
    // As after a power cut: the file is longer than what was synced, by bytes that nobody sent.
    let entries = std::fs::read_dir(case.downloads()).unwrap().map(|entry| entry.unwrap().path());
    let part = entries.into_iter().find(|path| path.extension().unwrap() == "part").unwrap();
    std::fs::OpenOptions::new().write(true).open(&part).unwrap().set_len(30_000).unwrap();
    let fetched = case.fetch().await.unwrap();
    assert_eq!(read(&fetched.path), bytes);
    assert_eq!(server.questions()[1].from(TAG), Some(20_000));
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_fetched_anew() {
    let new = content(30_000);
    let sent = new.clone();
    let server = Server::start(move |number, question| match number {
        0 => file(question, &content(40_000), TAG, 10_000),
        _ => file(question, &sent, "\"two\"", usize::MAX),
    })
    .await;
    let case = Case::new(&server.url("/i"));
    assert_eq!(read(&case.fetch().await.unwrap().path), new);
}

#[tokio::test]
async fn without_a_tag_nothing_is_gone_on_with_and_nothing_kept() {
    let bytes = content(20_000);
    let sent = bytes.clone();
    let server = Server::start(move |number, _| {
        let max = if number < 2 { 5_000 } else { 20_000 };
        Reply::new("HTTP/1.1 200 OK\nContent-Length: 20000\nETag: W/\"weak\"", &sent[..max])
    })
    .await;
    let mut case = Case::new(&server.url("/i"));
    case.patience.attempts = 1;
    assert!(matches!(case.fetch().await.unwrap_err(), FetchError::Cut { .. }));
    assert_eq!(case.left(), 0);
    case.patience.attempts = 3;
    assert_eq!(read(&case.fetch().await.unwrap().path), bytes);
    assert!(server.questions().iter().all(|question| question.header("range").is_none()));
}

#[tokio::test]
async fn a_whole_file_is_not_fetched_again_when_its_end_was_lost() {
    let bytes = content(10_000);
    let sent = bytes.clone();
    // Says one byte more than the last one it sends, and then that there is none.
    let server = Server::start(move |number, question| match number {
        0 => file(question, &sent, TAG, 9_999),
        _ => file(question, &sent, TAG, usize::MAX),
    })
    .await;
    let mut case = Case::new(&server.url("/i"));
    case.patience.attempts = 1;
    case.fetch().await.unwrap_err();
    let kept = case.fetch().await.unwrap();
    assert_eq!(read(&kept.path), bytes);
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up_and_what_came_is_kept() {
    let server = Server::start(|number, question| match number {
        0 => Reply { head: String::new(), body: Vec::new(), hang: true },
        _ => file(question, &content(50_000), TAG, 20_000).hanging(),
    })
    .await;
    let mut case = Case::new(&server.url("/i"));
    case.patience = Patience { attempts: 1, stall: Duration::from_secs(1), ..PATIENCE };
    assert!(matches!(case.fetch().await.unwrap_err(), FetchError::NoAnswer { .. }));
    assert!(matches!(case.fetch().await.unwrap_err(), FetchError::Stalled { got: 20_000, .. }));
    assert_eq!(pending(&case.downloads()).unwrap()[0].bytes, 20_000);
    clear(&case.downloads()).unwrap();
    assert_eq!(case.left(), 0);
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_take_no_password_along() {
    let other = Server::start(|_, question| file(question, b"there", TAG, usize::MAX)).await;
    let there = other.url("/there");
    let server = Server::start(move |_, question| match question.path() {
        "/a" => Reply::new("HTTP/1.1 302 Found\nLocation: b?x\nContent-Length: 0", b""),
        "/b?x" => Reply::new(&format!("HTTP/1.1 307 T\nLocation: {there}\nContent-Length: 0"), b""),
        "/ftp" => Reply::new("HTTP/1.1 301 M\nLocation: ftp://h/x\nContent-Length: 0", b""),
        "/nowhere" => Reply::new("HTTP/1.1 301 M\nContent-Length: 0", b""),
        _ => Reply::new("HTTP/1.1 301 M\nLocation: /loop\nContent-Length: 0", b""),
    })
    .await;
    let url = server.url("/a").replace("http://", "http://admin@");
    let mut case = Case::new(&url);
    let password = Some(Secret::new("hunter2"));
    case.login = Login { password, ..Login::default() };
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::ClearPassword(_)), "{error}");
    case.insecure = true;
    let fetched = case.fetch().await.unwrap();
    assert_eq!(read(&fetched.path), b"there");
    let basic = Some("Basic YWRtaW46aHVudGVyMg==");
    assert!(server.questions().iter().all(|question| question.header("authorization") == basic));
    assert_eq!(other.questions()[0].header("authorization"), None);
    for path in ["/ftp", "/nowhere", "/loop"] {
        let error = Case::new(&server.url(path)).fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::Redirect { .. }), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_lies_about_the_length_gives_no_file() {
    let server = Server::start(|number, question| match question.path() {
        "/more" if number == 0 => file(question, &content(1_000), TAG, 100),
        "/more" => Reply::new(
            "HTTP/1.1 206 P\nContent-Range: bytes 100-999/1000\nTransfer-Encoding: chunked\nETag: \"one\"",
            format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800)).as_bytes(),
        ),
        "/other-part" if question.header("range").is_some() => Reply::new(
            "HTTP/1.1 206 P\nContent-Length: 5\nContent-Range: bytes 0-4/5\nETag: \"one\"",
            b"wrong",
        ),
        "/no-range" if question.header("range").is_some() => {
            Reply::new("HTTP/1.1 206 P\nContent-Length: 5\nETag: \"one\"", b"wrong")
        }
        "/other-part" | "/no-range" => file(question, &content(1_000), TAG, 100),
        _ => Reply::new("HTTP/1.1 200 OK\nContent-Length: 1000", b"too little"),
    })
    .await;
    for path in ["/more", "/no-range"] {
        let error = Case::new(&server.url(path)).fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::Protocol { .. }), "{path}: {error}");
    }
    for path in ["/other-part", "/less"] {
        let error = Case::new(&server.url(path)).fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::Cut { .. }), "{path}: {error}");
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_said_and_what_passes_is_tried_again() {
    let server = Server::start(|number, question| match question.path() {
        "/busy" if number == 0 => Reply::new("HTTP/1.1 503 Busy\nContent-Length: 0", b""),
        "/busy" => file(question, b"x", TAG, usize::MAX),
        "/login" => Reply::new("HTTP/1.1 401 No\nContent-Length: 0", b""),
        "/garbage" => Reply { head: "SSH-2.0-OpenSSH\r\n\r\n".to_owned(), body: Vec::new(), hang: false },
        _ => Reply::new("HTTP/1.1 404 No\nContent-Length: 0", b""),
    })
    .await;
    assert!(Case::new(&server.url("/busy")).fetch().await.is_ok());
    let asked = server.questions().len();
    let case = Case::new(&server.url("/gone?token=secret"));
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 404, .. }) && !error.to_string().contains("secret"));
    assert_eq!((case.left(), server.questions().len()), (0, asked + 1));
    assert!(matches!(Case::new(&server.url("/login")).fetch().await.unwrap_err(), FetchError::Login { .. }));
    let error = Case::new(&server.url("/garbage")).fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn a_download_never_takes_more_space_than_it_is_given() {
    let server = Server::start(|_, question| match question.path() {
        "/said" => file(question, &content(50_000), TAG, usize::MAX),
        _ => Reply::new("HTTP/1.1 200 OK\nConnection: close", &content(50_000)),
    })
    .await;
    let mut case = Case::new(&server.url("/said"));
    case.room = Box::new(|| Ok(49_999));
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NoSpace { needed: Some(50_000), available: 49_999 }), "{error}");
    assert_eq!(case.left(), 0);
    // What is made of it needs its room too, and is looked at before anything comes.
    (case.room, case.times) = (Box::new(|| Ok(149_999)), 2);
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NoSpace { needed: Some(150_000), available: 149_999 }), "{error}");
    assert_eq!(case.left(), 0);
    case.room = Box::new(|| Ok(150_000));
    case.fetch().await.unwrap();
    let mut case = Case::new(&server.url("/unsaid"));
    let room = Arc::new(AtomicU64::new(10_000));
    let asked = room.clone();
    // What was granted once is not granted again.
    case.room = Box::new(move || Ok(asked.swap(0, Ordering::Relaxed)));
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NoSpace { needed: None, .. }), "{error}");
    assert_eq!(case.left(), 0);
    case.room = Box::new(|| Ok(50_000));
    assert_eq!(case.fetch().await.unwrap().size, Some(50_000));
}

#[tokio::test]
async fn another_file_than_wanted_is_refused_and_not_kept() {
    let server = Server::start(|_, question| file(question, b"hello", TAG, usize::MAX)).await;
    let mut case = Case::new(&server.url("/i"));
    let right = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    case.sha256 = Some(Sha256::parse(right).unwrap());
    let fetched = case.fetch().await.unwrap();
    assert_eq!(fetched.sha256, case.sha256);
    fetched.discard().unwrap();
    case.sha256 = Some(Sha256::parse(&format!("sha256:{}", "0".repeat(64))).unwrap());
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(&error, FetchError::DigestMismatch { found, .. } if found == right), "{error}");
    assert_eq!(case.left(), 0);
    for bad in ["", "abc", &"g".repeat(64), &format!("{right}0"), "ä"] {
        assert!(Sha256::parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn who_is_not_there_is_told_apart() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/i", nobody.local_addr().unwrap());
    drop(nobody);
    assert!(matches!(Case::new(&url).fetch().await.unwrap_err(), FetchError::Refused(_)));
    let error = Case::new("http://no-such-host.invalid/i").fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NameNotFound { .. }), "{error}");
    let mut case = Case::new(&url);
    case.interface = Some("no-such0");
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Interface { .. }), "{error}");
    let error = Case::new("nginx:1").fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Registry(_)), "{error}");
}

#[tokio::test]
async fn a_download_can_be_bound_to_an_interface() {
    let server = Server::start(|_, question| file(question, b"x", TAG, usize::MAX)).await;
    let mut case = Case::new(&server.url("/i"));
    case.interface = Some("lo");
    assert!(case.fetch().await.is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_a_server_sends_it_gets_a_file_or_one_line(
        status in "HTTP/1.1 (200|206|301|416|503|[0-9]{3}) [ -~]{0,10}|[ -~]{0,20}",
        headers in prop::collection::vec(
            "(Content-Length|Content-Range|Transfer-Encoding|Location|ETag): (bytes 0-4/5|chunked|5|\\*/5|[ -~]{0,15})",
            0..4,
        ),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let head = format!("{status}\n{}", headers.join("\n"));
            let server = Server::start(move |_, _| Reply::new(&head, &body)).await;
            let mut case = Case::new(&server.url("/i"));
            case.patience.attempts = 2;
            // That an error is one line is looked at for every error.
            let _ = case.fetch().await;
        });
    }
}
