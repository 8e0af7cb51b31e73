//! The generated scripts under a real bash. The programs they call are recorders: what is checked here is which calls
//! they make, with which words, in which order. That the calls do the right thing is shown on the virtual switches.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod sandbox;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};

use sandbox::Sandbox;
use switchyard_generator::{Description, render};

const PROBE: &str =
    "name = \"probe\"\nimage = \"docker-probe\"\nscope = [\"host\", \"asic\"]\nstop_timeout_seconds = 20\n";

#[test]
fn every_example_is_valid_bash() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/examples/features.d");
    for example in fs::read_dir(examples).unwrap() {
        let text = fs::read_to_string(example.unwrap().path()).unwrap();
        for file in render(&Description::parse(&text).unwrap()).iter().filter(|file| file.mode == 0o755) {
            let output = Command::new("bash").args(["-n", "-c", &file.content]).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", file.path);
        }
    }
}

#[test]
fn the_container_is_made_as_sonic_makes_it_then_started_by_container() {
    let sandbox = Sandbox::with(PROBE);
    assert_eq!(sandbox.code(&["start"]), 0);
    let calls = sandbox.calls();
    let create = &calls[0];
    assert!(
        create.starts_with(
            "docker [create] [--pull] [never] [--name] [probe] [--label] [switchyard.made-from="
        ),
        "{create}"
    );
    for words in [
        "[--uts=host] [--tmpfs] [/var/log/supervisor:rw] [--log-opt] [max-size=2M] [--log-opt] [max-file=5]",
        "[-v] [/host/warmboot:/var/warmboot] [-v] [/var/run/redis:/var/run/redis:rw]",
        "[-v] [/var/run/redis-chassis:/var/run/redis-chassis:ro]",
        "[-e] [RUNTIME_OWNER=local] [-e] [NAMESPACE_ID=] [-e] [NAMESPACE_PREFIX=asic] [-e] [NAMESPACE_COUNT=1]",
        "[-e] [DEV=] [-e] [CONTAINER_NAME=probe] [-e] [SYSLOG_TARGET_IP=127.0.0.1] [-e] [PLATFORM=x86]",
        "[--net] [host] [-v] [/device/x86/sku:/usr/share/sonic/hwsku:ro]",
        "[-v] [/device/x86:/usr/share/sonic/platform:ro]",
    ] {
        assert!(create.contains(words), "{words} is not in {create}");
    }
    assert!(create.ends_with("[docker-probe:latest]"), "{create}");
    assert_eq!(calls[1..], ["container [start] [probe]"]);
}

#[test]
fn the_instance_of_an_asic_lives_in_its_namespace() {
    let sandbox = Sandbox::with(PROBE);
    sandbox.file("device/x86/asic.conf", "NUM_ASIC=2\n");
    sandbox.answer("docker", "case $1 in network) echo 240.127.1.1 ;; container | image) exit 1 ;; esac");
    assert_eq!(sandbox.code(&["start", "1"]), 0);
    let calls = sandbox.calls();
    for words in [
        "[--name] [probe1]",
        "[--net] [container:database1]",
        "[/host/warmboot1:/var/warmboot] [-v] [/var/run/redis1:/var/run/redis:rw]",
        "[NAMESPACE_ID=1] [-e] [NAMESPACE_PREFIX=asic] [-e] [NAMESPACE_COUNT=2] [-e] [DEV=1]",
        "[CONTAINER_NAME=probe1] [-e] [SYSLOG_TARGET_IP=240.127.1.1]",
        "[/device/x86/sku/1:/usr/share/sonic/hwsku:ro]",
    ] {
        assert!(calls[0].contains(words), "{words} is not in {}", calls[0]);
    }
    assert!(
        !calls[0].contains("/var/run/redis0"),
        "the other ASIC's database is not its business: {}",
        calls[0]
    );
    assert_eq!(calls.last().unwrap(), "container [start] [probe1]");

    assert_eq!(sandbox.code(&["start"]), 0);
    let host = &sandbox.calls()[0];
    let all = "[-v] [/var/run/redis0:/var/run/redis0:rw] [-v] [/var/run/redis1:/var/run/redis1:rw]";
    assert!(host.contains("[--net] [host]") && host.contains(all), "{host}");
}

/// The recorder plays an engine that has the container, made with this mount and label from this image.
fn existing(sandbox: &Sandbox, mount: &str, image: &str) {
    let script = fs::read_to_string(sandbox.path().join("usr-bin/probe.sh")).unwrap();
    let made_from = script.lines().find_map(|line| line.strip_prefix("MADE_FROM=")).unwrap();
    let root = sandbox.path().display();
    sandbox.answer(
        "docker",
        &format!(
            "case $1$2 in containerinspect) echo '{root}{mount}|{made_from}|sha256:1' ;; imageinspect) {image} ;; esac"
        ),
    );
}

#[test]
fn a_container_that_is_as_it_should_be_is_used_again() {
    let sandbox = Sandbox::with(PROBE);
    for image in ["echo sha256:1", "exit 1"] {
        existing(&sandbox, "/device/x86/sku", image);
        assert_eq!(sandbox.code(&["start"]), 0);
        assert_eq!(sandbox.calls(), ["container [start] [probe]"], "image inspect: {image}");
    }
}

#[test]
fn a_container_for_another_sku_or_from_an_older_image_is_made_anew() {
    let sandbox = Sandbox::with(PROBE);
    for (mount, image) in [("/device/x86/other", "sha256:1"), ("/device/x86/sku", "sha256:2")] {
        existing(&sandbox, mount, &format!("echo {image}"));
        assert_eq!(sandbox.code(&["start"]), 0);
        let calls = sandbox.calls();
        assert_eq!(calls[..2], ["docker [stop] [-t] [20] [probe]", "docker [rm] [-f] [probe]"]);
        assert!(calls[2].starts_with("docker [create]"), "{calls:?}");
        assert_eq!(calls[3..], ["container [start] [probe]"]);
    }
}

#[test]
fn a_missing_image_fails_with_4_unless_kubernetes_brings_one() {
    let sandbox = Sandbox::with(PROBE);
    sandbox.answer("docker", "exit 1");
    let output = sandbox.run(&["start"]);
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "probe.sh: cannot create container probe from image docker-probe:latest\n");
    assert!(!sandbox.calls().iter().any(|call| call.starts_with("container")));

    sandbox.answer("sonic-db-cli", "[[ $* != *set_owner ]] || echo kube");
    assert_eq!(sandbox.code(&["start"]), 0);
    assert_eq!(sandbox.calls().last().unwrap(), "container [start] [probe]");
    sandbox.answer("container", "exit 1");
    assert_eq!(sandbox.code(&["start"]), 4);
}

#[test]
fn a_kube_only_feature_never_touches_the_engine() {
    let sandbox = Sandbox::with("name = \"probe\"\nkube_only = true\n");
    assert_eq!(sandbox.code(&["start"]), 0);
    assert_eq!(sandbox.calls(), ["container [start] [probe]"]);
}

#[test]
fn wait_stop_and_kill_are_one_call_each_and_keep_its_exit_code() {
    let sandbox = Sandbox::with(PROBE);
    sandbox.answer("container", "exit 7");
    for (words, call) in [
        (["wait"].as_slice(), "container [wait] [probe]"),
        (&["wait", "0"], "container [wait] [probe0]"),
        (&["stop"], "container [stop] [-t] [20] [probe]"),
        (&["kill", "12"], "container [kill] [probe12]"),
        (&["start"], "container [start] [probe]"),
    ] {
        assert_eq!(sandbox.code(words), 7, "{words:?}");
        assert_eq!(sandbox.calls().last().unwrap(), call);
    }
}

#[test]
fn other_words_are_refused_before_anything_is_called() {
    let sandbox = Sandbox::with(PROBE);
    let host_only = Sandbox::with("name = \"probe\"\nimage = \"docker-probe\"\n");
    for (sandbox, words) in [
        (&sandbox, [].as_slice()),
        (&sandbox, &["restart"]),
        (&sandbox, &["start", "x; reboot"]),
        (&sandbox, &["stop", "-1"]),
        (&host_only, &["start", "0"]),
    ] {
        let output = sandbox.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(!output.stderr.is_empty() && sandbox.calls().is_empty(), "{words:?}");
    }
}

#[test]
fn a_warm_or_fast_reboot_kills_and_everything_else_stops() {
    let sandbox = Sandbox::with(PROBE);
    let stop = |words: &[&str]| {
        assert!(sandbox.command("usr-local-bin/probe.sh", words).status().unwrap().success());
        sandbox.calls()
    };
    assert_eq!(stop(&["stop"]), ["container [stop] [-t] [20] [probe]"]);
    for flag in [
        "WARM_RESTART_ENABLE_TABLE|system",
        "WARM_RESTART_ENABLE_TABLE|probe",
        "FAST_RESTART_ENABLE_TABLE|system",
    ] {
        sandbox.answer(
            "sonic-db-cli",
            &format!("[ \"$*\" != '-n asic1 STATE_DB hget {flag} enable' ] || echo true"),
        );
        assert_eq!(stop(&["stop", "1"]), ["container [kill] [probe1]"], "{flag}");
        assert_eq!(
            stop(&["stop"]),
            ["container [stop] [-t] [20] [probe]"],
            "{flag} is set for another instance"
        );
    }
    assert_eq!(stop(&["wait", "1"]), ["container [wait] [probe1]"]);
    assert!(!sandbox.command("usr-local-bin/probe.sh", &["kill"]).status().unwrap().success());
}

#[test]
fn values_arrive_word_for_word_and_run_nothing() {
    let sandbox = Sandbox::with(
        r#"
name = "probe"
image = "docker-probe"
[container]
arguments = ["--label", "x=$(touch $SANDBOX/pwned) `id` 'a' \"b\" \\ ${HOME} @IMAGE@ ;|&"]
environment = { GREETING = "it's $5 %i ${DEV}." }
command = ["--sleep", "a  b", "*"]
"#,
    );
    assert_eq!(sandbox.code(&["start"]), 0);
    let create = &sandbox.calls()[0];
    let wanted = r#"[--label] [x=$(touch $SANDBOX/pwned) `id` 'a' "b" \ ${HOME} @IMAGE@ ;|&] [-e] [GREETING=it's $5 %i .] [docker-probe:latest] [--sleep] [a  b] [*]"#;
    assert!(create.ends_with(wanted), "{create}");
    assert!(!sandbox.path().join("pwned").exists());
}

#[test]
fn hooks_run_around_the_start_and_know_the_switch() {
    let hooks = "[hooks]\npre_start = ['container before $BOOT_TYPE $HWSKU']\npost_start = ['container after \"$NAME\"']\n";
    let sandbox = Sandbox::with(&format!("{PROBE}{hooks}"));
    assert_eq!(sandbox.code(&["start"]), 0);
    assert_eq!(
        sandbox.calls()[1..],
        ["container [before] [fast] [sku]", "container [start] [probe]", "container [after] [probe]"]
    );
}

#[test]
fn a_broken_hook_fails_the_start_but_never_the_stop() {
    let sandbox = Sandbox::with(&format!("{PROBE}[hooks]\npre_start = ['true', 'fi; }} (']\n"));
    let output = sandbox.run(&["start"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().ends_with("pre_start failed, probe was not started\n"));
    assert!(!sandbox.calls().iter().any(|call| call.starts_with("container")));
    assert_eq!(sandbox.code(&["stop"]), 0);
}

#[test]
fn a_stop_in_the_middle_of_the_start_waits_for_the_engine_and_then_ends_the_start() {
    let sandbox = Sandbox::with(&format!("{PROBE}[hooks]\npost_start = ['container after']\n"));
    let fifo = |name: &str| {
        assert!(Command::new("mkfifo").arg(sandbox.path().join(name)).status().unwrap().success());
        sandbox.path().join(name)
    };
    let (begun, go_on) = (fifo("begun"), fifo("go-on"));
    sandbox.answer("container", "echo >$SANDBOX/begun; read -r <$SANDBOX/go-on; echo done >>$SANDBOX/calls");
    let mut command = sandbox.command("usr-bin/probe.sh", &["start"]);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let start: Child = command.spawn().unwrap();
    // Opening the pipe waits until `container start` has begun.
    fs::read(begun).unwrap();
    // As systemd does it: to every process of the unit.
    let group = format!("-{}", start.id());
    assert!(Command::new("kill").args(["-TERM", "--", &group]).status().unwrap().success());
    // Opened for both directions, so that a call that was cut is found below and not waited for here.
    let mut pipe = fs::File::options().read(true).write(true).open(go_on).unwrap();
    pipe.write_all(b"\n").unwrap();
    let output = start.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        sandbox.calls()[1..],
        ["container [start] [probe]", "done"],
        "the call was cut or post_start still ran"
    );
}
