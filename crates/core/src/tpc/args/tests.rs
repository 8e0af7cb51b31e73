use proptest::prelude::*;

use super::*;

fn taken(text: &str) -> CreateArgs {
    CreateArgs::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    let error = CreateArgs::parse(text).expect_err(text).to_string();
    assert!(!error.chars().any(char::is_control) && error.len() < 400, "{error}");
    error
}

#[test]
fn what_docker_create_takes_is_taken_in_each_of_its_spellings() {
    let args = taken(
        "-e A=1 --env B='two words' -eC=3 -v /data:/data:ro --volume=logs:/var/log -v /cache \
         --mount type=bind,source=/etc/hosts,target=/hosts,readonly --net=bridge --cap-add net_admin --privileged \
         -p 127.0.0.1:8080:80 -p 53:53/udp -p 9000-9001:80-81 --device /dev/null:/dev/x:r --tmpfs /run:size=1m \
         --ulimit nofile=1024:4096 --entrypoint '' --user=1000:1000 -w /srv --hostname tpc --label a=b --pid host \
         --ipc=host --log-driver json-file --log-opt max-size=1m --add-host h:10.0.0.1 --dns 10.0.0.2 --init \
         --read-only --security-opt no-new-privileges --sysctl net.core.somaxconn=9 --shm-size 64m \
         --stop-signal SIGINT --stop-timeout 5 -- sh -c 'sleep 1'",
    );
    assert_eq!(args.env, ["A=1", "B=two words", "C=3"]);
    assert_eq!(args.mounts.len(), 4);
    assert!(args.mounts[0].read_only && args.mounts[3].read_only && !args.mounts[1].read_only);
    assert_eq!(args.mounts[2].kind, MountKind::Volume(None));
    assert_eq!(args.network.as_deref(), Some("bridge"));
    assert!(!args.is_on_host_network() && taken("").is_on_host_network());
    assert_eq!(args.cap_add, ["NET_ADMIN"]);
    assert!(args.privileged && args.init && args.read_only);
    let ports: Vec<_> = args.ports.iter().map(|port| (port.host, port.container)).collect();
    assert_eq!(ports, [(Some(8080), 80), (Some(53), 53), (Some(9000), 80), (Some(9001), 81)]);
    assert_eq!(args.ulimits, [Ulimit { name: "nofile".to_owned(), soft: 1024, hard: 4096 }]);
    assert_eq!(args.shm_size, Some(64 << 20));
    assert_eq!(args.entrypoint.as_deref(), Some(""));
    assert_eq!(args.command, ["sh", "-c", "sleep 1"]);
    assert_eq!(taken(&args.to_string()), args);
}

#[test]
fn what_is_tpcms_own_is_refused_with_the_way_to_do_it() {
    for (text, way) in [
        ("--name x", "name"),
        ("--name=x", "name"),
        ("--restart always", "systemd"),
        ("-d", "systemd"),
        ("--rm", "uninstall"),
        ("-it", "terminal"),
        ("-t", "terminal"),
        ("--cpus 2", "--cpu"),
        ("-m 1g", "--memory"),
        ("-m1g", "--memory"),
        ("--memory=1g", "--memory"),
        ("--storage-opt size=1G", "--disk"),
        ("--cgroup-parent /x", "cgroup"),
        ("--env-file x", "--env"),
        ("--volumes-from x", "/tpc_shared"),
        ("-P", "--publish"),
        ("-v /x:/tpc", "/tpc"),
        ("-v /x:/tpc//hook/.", "/tpc"),
        ("--tmpfs /tpc_shared", "/tpc_shared"),
        ("--mount type=volume,target=/tpc/", "/tpc"),
        ("-v /host/tpc/.store:/s:ro", "store"),
        ("-v /host//tpc/./.store/layers:/s", "store"),
        ("-v /host/tpc:/s", "store"),
        ("-l io.kubernetes.pod.name=x", "Kubernetes"),
        ("--label com.azure.sonic.manifest={}", "SONiC"),
    ] {
        assert!(refused(text).contains(way), "{text}: {}", refused(text));
    }
}

#[test]
fn what_is_no_argument_is_refused() {
    for text in [
        "'",
        "\"a",
        "-e 'A=1",
        "a\\",
        "-e",
        "-e A",
        "-e =1",
        "-e ''",
        "nginx",
        "--",
        "--no-such",
        "--no-such=1",
        "-x",
        "-",
        "-v a:b",
        "-v /a:/b:/c:ro",
        "-v /a:/b:rx",
        "-v /a/../b:/c",
        "-v /a:/",
        "-v :/a",
        "-v x:/a:rslave",
        "-v /a:/b -v /c:/b",
        "--mount a",
        "--mount type=bind,target=/x",
        "--mount type=npipe,source=/a,target=/x",
        "--mount type=bind,source=/a",
        "-p 0",
        "-p 70000",
        "-p a:1",
        "-p 1-2:1",
        "-p 1/icmp",
        "-p 300.1.1.1:1:1",
        "--device x",
        "--device /a:/b:rq",
        "--ulimit nofile",
        "--ulimit nofile=5:1",
        "--ulimit nofile=-1:1",
        "--cap-add ''",
        "--dns x",
        "--add-host x",
        "--pid x",
        "--ipc y",
        "--pid container:",
        "--user 'a b'",
        "-w tmp",
        "--hostname _",
        "--shm-size 0",
        "--shm-size 1t",
        "--shm-size +1",
        "--shm-size 99999999999999g",
        "--stop-timeout x",
        "--stop-signal '$(x)'",
        "--security-opt seccomp=/etc/x",
        "--net host --net none",
        "--init=yes",
        "--tmpfs run",
        "--user a --user b",
        "--sysctl x",
        "--workdir=",
    ] {
        if text == "--" {
            assert_eq!(taken(text), CreateArgs::default());
        } else {
            refused(text);
        }
    }
}

#[test]
fn what_is_dangerous_is_allowed_and_said() {
    let hazards = |text| taken(text).hazards().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    assert!(hazards("-v /var/run/docker.sock:/s").contains("/var/run/docker.sock"));
    assert!(hazards("-v /:/rootfs").contains("write"));
    assert_eq!(hazards("-v /:/rootfs:ro -v /data:/data -v x1:/y"), "");
}

/// Values for any flag, right and wrong ones.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("host".to_owned()),
        Just("A=b".to_owned()),
        Just("/a:/b:ro".to_owned()),
        Just("type=bind,source=/a,target=/t".to_owned()),
        Just("80:80/udp".to_owned()),
        Just("10.0.0.1".to_owned()),
        Just("64m".to_owned()),
        "[a-z0-9/:=,.\\-]{0,20}",
        "\\PC{0,12}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_in_one_line(text in "(\\PC|[ '\"\\\\\n\t-]){0,60}") {
        if let Err(error) = CreateArgs::parse(&text) {
            prop_assert!(!error.to_string().chars().any(char::is_control), "{}", error);
        }
    }

    #[test]
    fn what_was_taken_is_written_so_that_it_means_the_same(
        words in prop::collection::vec((prop::sample::select(NAMES.to_vec()), value(), any::<bool>()), 0..6),
        command in prop::collection::vec("\\PC{0,8}", 0..3),
    ) {
        let mut all: Vec<String> = Vec::new();
        for (name, value, attached) in &words {
            if *attached {
                all.push(format!("{name}={value}"));
            } else {
                all.extend([(*name).to_owned(), value.clone()]);
            }
        }
        all.push("--".to_owned());
        all.extend(command);
        let text = shlex::try_join(all.iter().map(String::as_str)).unwrap();
        if let Ok(args) = CreateArgs::parse(&text) {
            prop_assert_eq!(CreateArgs::parse(&args.to_string()), Ok(args.clone()));
            let hidden = |target: &str| target == "/tpc" || target.starts_with("/tpc/");
            prop_assert!(!args.mounts.iter().any(|mount| hidden(&mount.target)));
        }
    }
}

const NAMES: [&str; 24] = [
    "-e",
    "-v",
    "--mount",
    "--net",
    "--cap-add",
    "--device",
    "-p",
    "--entrypoint",
    "-u",
    "-w",
    "-h",
    "-l",
    "--tmpfs",
    "--pid",
    "--ipc",
    "--ulimit",
    "--log-driver",
    "--log-opt",
    "--add-host",
    "--dns",
    "--sysctl",
    "--shm-size",
    "--stop-signal",
    "--security-opt",
];
