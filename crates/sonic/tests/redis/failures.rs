//! What a caller is told when the databases are not as they should be.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use switchyard_core::{CurrentOwner, RowChange};
use switchyard_sonic::{Db, DbAddress, SonicError, Switch};

use crate::support::{Fixture, bgp, name, snmp};

fn owned_by_kube() -> RowChange {
    RowChange { current_owner: Some(CurrentOwner::Kube), ..RowChange::default() }
}

#[test]
fn a_server_that_is_gone_is_named_and_one_that_is_back_is_found_again() {
    let mut fixture = Fixture::new();
    let mut switch = fixture.open();
    switch.write_state(&snmp(), &owned_by_kube()).unwrap();
    fixture.host.restart();
    assert_eq!(switch.feature_state(&snmp()).unwrap(), None, "the same switch, connected anew");
    assert!(switch.write_state(&snmp(), &owned_by_kube()).unwrap());

    fixture.host.kill();
    for _ in 0..2 {
        let error = switch.feature_state(&snmp()).unwrap_err();
        assert!(matches!(error, SonicError::RedisUnreachable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("redis.sock") && text.contains("docker ps") && !text.contains('\n'), "{text}");
    }
    fixture.host.restart();
    assert!(switch.write_state(&snmp(), &owned_by_kube()).unwrap());
}

#[test]
fn tcp_is_tried_where_the_socket_does_not_answer() {
    let fixture = Fixture::over_tcp();
    let address = fixture.host.address(6);
    let mut db = Db::open(&DbAddress { socket: Some("/nowhere/redis.sock".into()), ..address }).unwrap();
    db.set("T", "k", &[("a", "1")]).unwrap();
    let nobody =
        DbAddress { socket: Some("/nowhere/redis.sock".into()), port: Some(1), ..fixture.host.address(6) };
    let error = Db::open(&nobody).err().unwrap().to_string();
    assert!(error.contains("/nowhere/redis.sock or 127.0.0.1:1"), "{error}");
}

/// A stuck server: the answer that comes too late must not be taken for the answer to the next question.
#[test]
fn a_server_that_does_not_answer_in_time_is_told_and_its_late_answer_is_forgotten() {
    let fixture = Fixture::new();
    let mut db = fixture.db("STATE_DB");
    db.set("T", "k", &[("a", "1")]).unwrap();
    fixture.host.signal("STOP");
    let begin = Instant::now();
    let error = db.field("T", "k", "a").unwrap_err();
    let took = begin.elapsed();
    fixture.host.signal("CONT");
    assert!(matches!(error, SonicError::TimedOut { .. }), "{error}");
    assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&took), "{took:?}");
    assert_eq!(db.field("T", "k", "other").unwrap(), None);
    assert_eq!(db.field("T", "k", "a").unwrap().as_deref(), Some("1"));
}

#[test]
fn rows_of_another_kind_and_text_that_is_none_are_one_line_and_no_panic() {
    let fixture = Fixture::new();
    let mut raw = fixture.host.raw();
    redis::cmd("SELECT").arg(6).exec(&mut raw).unwrap();
    let mut switch = fixture.open();

    redis::cmd("SET").arg("FEATURE|snmp").arg("a plain text").exec(&mut raw).unwrap();
    for error in [
        switch.feature_state(&snmp()).unwrap_err(),
        switch.write_state(&snmp(), &owned_by_kube()).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(matches!(error, SonicError::RedisRefused { .. }), "{text}");
        assert!(
            text.contains("FEATURE|snmp") && text.contains("WRONGTYPE") && !text.contains('\n'),
            "{text}"
        );
    }

    redis::cmd("DEL").arg("FEATURE|snmp").exec(&mut raw).unwrap();
    let garbage: &[u8] = &[0xff, 0x00, 0xfe, b'\n'];
    redis::cmd("HSET").arg("FEATURE|snmp").arg("remote_state").arg(garbage).exec(&mut raw).unwrap();
    let text = switch.feature_state(&snmp()).unwrap_err().to_string();
    assert!(text.contains("remote_state is") && text.contains("HDEL") && !text.contains('\n'), "{text}");
    let field: &[u8] = &[0xff, 0xff];
    redis::cmd("DEL").arg("FEATURE|snmp").exec(&mut raw).unwrap();
    redis::cmd("HSET").arg("FEATURE|snmp").arg(field).arg(garbage).exec(&mut raw).unwrap();
    assert!(switch.feature_state(&snmp()).unwrap().is_some());
}

#[test]
fn a_namespace_that_cannot_be_written_leaves_the_hosts_configuration_as_it_was() {
    let mut fixture = Fixture::with_asics(2);
    fixture.asics[1].kill();
    let error = fixture.open().set_feature_field(&name("bgp"), "set_owner", "kube").unwrap_err().to_string();
    assert!(error.contains("redis1"), "{error}");
    assert_eq!(fixture.db("CONFIG_DB").row("FEATURE", "bgp").unwrap(), None);
}

#[test]
fn files_that_are_still_being_written_at_boot_are_waited_for() {
    let fixture = Fixture::with_asics(2);
    let file = fixture.paths().redis_dir.join("../redis1/sonic-db/database_config.json");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    // Without waiting, only what needs the half-written file fails.
    let mut switch = fixture.open();
    assert!(switch.feature_state(&bgp(0)).is_ok());
    let error = switch.feature_state(&bgp(1)).unwrap_err();
    assert!(matches!(error, SonicError::FileBroken { .. }), "{error}");
    thread::scope(|scope| {
        let waiting =
            scope.spawn(|| Switch::open_waiting(&fixture.paths()).unwrap().feature_state(&bgp(1)).unwrap());
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished(), "it must wait for the half-written file");
        fs::write(&file, &whole).unwrap();
        assert_eq!(waiting.join().unwrap(), None);
    });
}

/// A container of the host has the host's files, and `database_global.json` among them, but not always the namespaces'.
#[test]
fn inside_an_image_only_its_own_files_are_waited_for() {
    let fixture = Fixture::with_asics(2);
    fs::remove_dir_all(fixture.paths().redis_dir.join("../redis1")).unwrap();
    let file = fixture.paths().database_config();
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    thread::scope(|scope| {
        let waiting =
            scope.spawn(|| Switch::open_waiting_inside(&fixture.paths()).unwrap().feature_state(&snmp()));
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished(), "it must wait for the half-written file");
        fs::write(&file, &whole).unwrap();
        let begin = Instant::now();
        assert_eq!(waiting.join().unwrap().unwrap(), None);
        assert!(begin.elapsed() < Duration::from_secs(10), "it must not wait for another namespace's");
    });
}

/// Run by the next test under another user; by itself it has nothing to look at.
#[test]
fn helper_that_opens_a_socket_as_somebody_without_rights() {
    let Some(socket) = std::env::var_os("TEST_SOCKET") else { return };
    let other_door = TcpListener::bind("127.0.0.1:0").unwrap();
    other_door.set_nonblocking(true).unwrap();
    let address = DbAddress {
        socket: Some(socket.into()),
        host: "127.0.0.1".into(),
        port: Some(other_door.local_addr().unwrap().port()),
        id: 6,
        separator: "|".into(),
    };
    let error = Db::open(&address).err().expect("nobody must not be let in");
    assert!(matches!(error, SonicError::RedisDenied { .. }), "{error}");
    assert!(error.to_string().contains("group redis"), "{error}");
    assert!(other_door.accept().is_err(), "TCP was tried in spite of the refusal");
    println!("denied as expected");
}

#[test]
fn somebody_without_rights_is_told_to_join_group_redis() {
    const NOBODY: u32 = 65534;
    let fixture = Fixture::new();
    let socket = fixture.host.address(6).socket.unwrap();
    let root = fixture.paths().redis_dir.ancestors().nth(3).unwrap().to_owned();
    // All may come as far as the socket, which is its owner's and group's only, as on a switch.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o760)).unwrap();
    // Nobody may reach the build directory, either.
    let program = root.join("test-program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new(&program)
        .args(["--exact", "failures::helper_that_opens_a_socket_as_somebody_without_rights", "--nocapture"])
        .env("TEST_SOCKET", &socket)
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("these tests run as root, as the switch's programs do");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("denied as expected"), "{text}");
}
