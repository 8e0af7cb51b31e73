//! The life of a node's files: join, join again, move, image change, leave, in a directory of their own.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use switchyard_core::NodeProgram;

use super::*;
use crate::switch_files::SwitchFiles;
use crate::{InvitationCertificate, SavedCredential, Token};

struct Switch {
    files: KubeletFiles,
    root: tempfile::TempDir,
    node: NodeName,
}

struct Cluster {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Cluster {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap() }
    }

    fn ca(&self) -> CaCertificate {
        CaCertificate::from_pem(self.issuer.pem().as_bytes()).unwrap()
    }

    /// What the cluster gives a node: good from an hour ago, for so long from now.
    fn certificate(&self, node: &str, ends: SystemTime) -> String {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
        parameters.not_before = (SystemTime::now() - Duration::from_hours(48)).into();
        parameters.not_after = ends.into();
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        certificate.pem() + &key.serialize_pem()
    }
}

fn in_hours(hours: u64) -> SystemTime {
    SystemTime::now() + Duration::from_hours(hours)
}

fn server(host: &str) -> ServerAddress {
    ServerAddress::new(host, 6443).unwrap()
}

fn token() -> Credential {
    Credential::Token(Token::parse("abcdef.0123456789abcdef").unwrap())
}

impl Switch {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let node = NodeName::from_host_name("Switch1").unwrap();
        Self { files: KubeletFiles::below(root.path()), root, node }
    }

    fn settings(&self) -> Settings<'_> {
        let address = Ipv4Addr::new(10, 0, 0, 7).into();
        Settings { node: &self.node, address: Some(address), cgroup_driver: CgroupDriver::Systemd }
    }

    fn saved(&self) -> SavedCredential {
        SavedCredential::below(self.root.path())
    }

    /// A join that comes to its end.
    fn join(&self, cluster: &Cluster, token: Option<&Credential>) -> Result<Changed, ClusterError> {
        let changed = self.begin_join(cluster, token)?;
        self.files.started()?;
        Ok(changed)
    }

    fn begin_join(&self, cluster: &Cluster, token: Option<&Credential>) -> Result<Changed, ClusterError> {
        self.files.write_for_join(&server("10.0.0.5"), &cluster.ca(), token, &self.settings())
    }

    /// As the kubelet does when it gets a certificate.
    fn kubelet_gets(&self, pem: &str) {
        let pki = self.root.path().join("var/lib/kubelet/pki");
        fs::create_dir_all(&pki).unwrap();
        fs::write(pki.join("kubelet-client-2026-11-21.pem"), pem).unwrap();
        let _ = fs::remove_file(pki.join("kubelet-client-current.pem"));
        std::os::unix::fs::symlink("kubelet-client-2026-11-21.pem", pki.join("kubelet-client-current.pem"))
            .unwrap();
        let text = "clusters:\n- cluster:\n    certificate-authority: /etc/kubernetes/ca.crt\n    server: https://10.0.0.5:6443\n\
             users:\n- name: default-auth\n  user:\n    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n";
        fs::write(self.root.path().join("etc/kubernetes/kubelet.conf"), text).unwrap();
    }
}

impl SwitchFiles for Switch {
    fn root(&self) -> &Path {
        self.root.path()
    }
}

#[test]
fn a_client_certificate_takes_the_place_of_a_token_and_the_kubelet_reads_it_from_where_it_is_kept() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.saved().save(&token()).unwrap();
    let pem = cluster.certificate("whoever", in_hours(1));
    let certificate = Credential::Certificate(InvitationCertificate::parse(&pem).unwrap());
    switch.saved().save(&certificate).unwrap();
    assert_eq!(
        switch.saved().read(NodeProgram::Kubelet).unwrap(),
        Some(certificate.clone()),
        "not the token before it"
    );
    assert_eq!(switch.read("host/switchyard/kubernetes/client.pem"), pem);
    assert_eq!(switch.mode("host/switchyard/kubernetes/client.pem"), 0o600);

    switch.join(&cluster, Some(&certificate)).unwrap();
    let bootstrap = || switch.read("etc/kubernetes/bootstrap-kubelet.conf");
    for line in ["client-certificate", "client-key"] {
        assert!(
            bootstrap().contains(&format!("{line}: /host/switchyard/kubernetes/client.pem")),
            "{}",
            bootstrap()
        );
    }
    switch.files.point_to(&server("10.0.0.6")).unwrap();
    assert!(
        bootstrap().contains("https://10.0.0.6:6443") && bootstrap().contains("client.pem"),
        "{}",
        bootstrap()
    );

    switch.saved().save(&token()).unwrap();
    assert_eq!(switch.saved().read(NodeProgram::Kubelet).unwrap(), Some(token()));
}

#[test]
fn a_kubelet_without_a_cluster_runs_the_manifests_on_host_and_has_no_port() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    assert!(!switch.files.has_static_pods());
    fs::create_dir_all(switch.files.static_pods()).unwrap();
    fs::write(switch.files.static_pods().join(".snmp.yaml.swp"), "").unwrap();
    assert!(!switch.files.has_static_pods(), "the kubelet does not read that either");
    fs::write(switch.files.static_pods().join("snmp.yaml"), "").unwrap();
    assert!(switch.files.has_static_pods());

    let settings = Settings { address: None, ..switch.settings() };
    assert!(switch.files.write_alone(&settings).unwrap().any());
    switch.files.started().unwrap();
    assert!(!switch.files.write_alone(&settings).unwrap().files, "written once");
    let configuration = switch.read("var/lib/kubelet/config.yaml");
    for line in
        ["enableServer: false", "readOnlyPort: 0", "staticPodPath: /host/switchyard/kubernetes/manifests"]
    {
        assert!(configuration.contains(line), "{configuration}");
    }
    let unit = switch.read("etc/systemd/system/kubelet.service.d/10-switchyard.conf");
    assert!(unit.contains(" --kubeconfig= ") && unit.contains(" --node-ip= "), "{unit}");
    assert!(switch.files.are_ours());
    assert_eq!(switch.files.joined_to(), None);

    switch.join(&cluster, Some(&token())).unwrap();
    assert!(!switch.read("var/lib/kubelet/config.yaml").contains("static"), "a cluster says what runs");
    switch.files.forget().unwrap();
    assert!(switch.files.has_static_pods(), "they are the operator's");
}

#[test]
fn a_join_with_a_token_writes_four_files_and_does_so_once() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    assert_eq!(switch.files.joined_to(), None);
    let changed = switch.join(&cluster, Some(&token())).unwrap();
    assert_eq!(changed, Changed { unit: true, files: true });
    assert_eq!(
        switch.all(),
        [
            "etc/kubernetes/bootstrap-kubelet.conf",
            "etc/kubernetes/ca.crt",
            "etc/systemd/system/kubelet.service.d/10-switchyard.conf",
            "var/lib/kubelet/config.yaml",
        ]
    );
    assert_eq!(switch.mode("etc/kubernetes/bootstrap-kubelet.conf"), 0o600);
    assert_eq!(switch.files.joined_to(), Some(server("10.0.0.5")));
    assert!(!switch.join(&cluster, Some(&token())).unwrap().any(), "joining twice changes nothing");
}

#[test]
fn what_a_join_that_was_cut_short_has_changed_is_still_to_be_told() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    assert!(switch.begin_join(&cluster, Some(&token())).unwrap().unit);
    let again = switch.begin_join(&cluster, Some(&token())).unwrap();
    assert!(
        again.unit,
        "systemd may not have read its units anew: the kubelet would run without its drop-in"
    );
    switch.files.started().unwrap();
    assert!(!switch.join(&cluster, Some(&token())).unwrap().any());
}

/// SONIC.md 12.2: copies of the kubeconfig lay in /tmp.
#[test]
fn the_token_is_in_one_file_that_root_alone_reads() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    switch.saved().save(&token()).unwrap();
    let with_secret = |name: &&String| switch.read(name).contains("0123456789abcdef");
    let found: Vec<String> = switch.all().iter().filter(with_secret).cloned().collect();
    assert_eq!(found, ["etc/kubernetes/bootstrap-kubelet.conf", "host/switchyard/kubernetes/token"]);
    assert!(found.iter().all(|path| switch.mode(path) == 0o600));
    assert_eq!(switch.mode("host/switchyard/kubernetes"), 0o700);
    assert_eq!(switch.saved().read(NodeProgram::Kubelet).unwrap(), Some(token()));
}

/// buildimage #27353: SONiC's `--node-ip=::` stands in `$KUBELET_EXTRA_ARGS`, and the last argument counts.
#[test]
fn our_arguments_count_more_than_those_of_the_image() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    let drop_in = switch.read("etc/systemd/system/kubelet.service.d/10-switchyard.conf");
    let (_, after) = drop_in.split_once("$KUBELET_EXTRA_ARGS ").unwrap();
    for ours in
        ["--node-ip=10.0.0.7", "--hostname-override=switch1", "--cgroup-driver=systemd", "--network-plugin="]
    {
        assert!(after.split_whitespace().any(|argument| argument == ours), "{ours} is not in {after}");
    }
    assert!(!drop_in.contains("pod-infra-container-image"), "that is the image's to say");
}

#[test]
fn the_kubelet_touches_neither_images_nor_pods_of_a_full_disk_and_lets_no_stranger_in() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    let text = switch.read("var/lib/kubelet/config.yaml");
    for line in [
        "imageGCHighThresholdPercent: 100",
        "  nodefs.available: 0%",
        "  imagefs.available: 0%",
        "readOnlyPort: 0",
        "  anonymous: { enabled: false }",
        "authorization: { mode: Webhook }",
        "rotateCertificates: true",
        "cgroupDriver: systemd",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in {text}");
    }
}

#[test]
fn a_node_that_has_its_certificate_needs_no_token_and_keeps_the_kubelets_own_file() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    switch.kubelet_gets(&cluster.certificate("switch1", in_hours(1)));
    assert!(
        !switch.join(&cluster, Some(&token())).unwrap().any(),
        "the kubelet's words for the same are the same"
    );
    let changed = switch.join(&cluster, None).unwrap();
    assert_eq!(changed, Changed { unit: false, files: true });
    assert!(
        !switch.all().iter().any(|name| name.contains("bootstrap")),
        "a token that is gone is not left lying"
    );
    assert_eq!(switch.files.joined_to(), Some(server("10.0.0.5")));
}

#[test]
fn a_certificate_of_another_cluster_or_another_node_is_not_shown() {
    let (switch, old, new) = (Switch::new(), Cluster::new(), Cluster::new());
    switch.join(&old, Some(&token())).unwrap();
    switch.kubelet_gets(&old.certificate("switch1", in_hours(1)));
    let error = switch.join(&new, None).unwrap_err();
    assert_eq!(error.reason(), "NoCredentials");
    assert!(switch.files.client_certificate().is_some(), "what is refused changes nothing");
    switch.join(&new, Some(&token())).unwrap();
    assert!(switch.files.client_certificate().is_none());

    switch.kubelet_gets(&new.certificate("switch2", in_hours(1)));
    assert_eq!(switch.join(&new, None).unwrap_err().reason(), "NoCredentials");
}

#[test]
fn a_cluster_that_replaces_its_ca_stays_the_same_cluster() {
    let (switch, old, new) = (Switch::new(), Cluster::new(), Cluster::new());
    switch.join(&old, Some(&token())).unwrap();
    switch.kubelet_gets(&old.certificate("switch1", in_hours(1)));
    let both = CaCertificate::from_pem((old.ca().pem() + &new.ca().pem()).as_bytes()).unwrap();
    switch.files.write_for_join(&server("10.0.0.5"), &both, None, &switch.settings()).unwrap();
    switch.join(&new, None).unwrap();
    assert!(switch.files.client_certificate().is_some());
}

#[test]
fn a_certificate_that_expired_while_the_switch_was_away_is_said_and_a_token_replaces_it() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    switch.kubelet_gets(&cluster.certificate("switch1", SystemTime::now() - Duration::from_hours(24)));
    let error = switch.join(&cluster, None).unwrap_err();
    assert_eq!(error.reason(), "CertificateExpired");
    assert!(error.to_string().contains("config kubernetes server token"), "{error}");
    assert_eq!(switch.files.identity(&switch.node).err(), Some(error));
    assert!(switch.join(&cluster, Some(&token())).unwrap().files);
    assert!(switch.files.client_certificate().is_none(), "so the kubelet asks for a new one");
}

#[test]
fn a_cluster_that_moves_is_followed() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    assert!(switch.files.point_to(&server("fd00::9")).unwrap().files);
    assert_eq!(switch.files.joined_to(), Some(server("fd00::9")));
    switch.kubelet_gets(&cluster.certificate("switch1", in_hours(1)));
    assert!(
        switch.files.point_to(&server("fd00::9")).unwrap().files,
        "the kubelet's file still names the old one"
    );
    assert_eq!(switch.files.joined_to(), Some(server("fd00::9")));
    assert!(!switch.files.point_to(&server("fd00::9")).unwrap().any());
    assert_eq!(switch.mode("etc/kubernetes/kubelet.conf"), 0o600);
}

/// SONIC.md 12.2: a change of the image lost the cluster's credentials.
#[test]
fn a_node_keeps_its_certificate_over_a_change_of_the_image() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    assert!(!switch.files.save_credentials().unwrap(), "nothing to save yet");
    switch.join(&cluster, Some(&token())).unwrap();
    let pem = cluster.certificate("switch1", in_hours(1));
    switch.kubelet_gets(&pem);
    assert!(switch.files.save_credentials().unwrap());
    assert!(!switch.files.save_credentials().unwrap(), "saved once");

    switch.change_image();
    assert!(switch.files.restore_credentials().unwrap());
    assert!(!switch.files.restore_credentials().unwrap(), "restored once");
    assert_eq!(switch.read("var/lib/kubelet/pki/kubelet-client-current.pem"), pem);
    assert_eq!(switch.mode("var/lib/kubelet/pki/kubelet-client-current.pem"), 0o600);
    let link = fs::symlink_metadata(switch.files.client_path()).unwrap();
    assert!(link.is_symlink(), "the kubelet renews only what is a link");
    switch.join(&cluster, None).unwrap();
    assert_eq!(switch.files.joined_to(), Some(server("10.0.0.5")));
}

#[test]
fn an_older_certificate_never_replaces_a_newer_one() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    switch.kubelet_gets(&cluster.certificate("switch1", in_hours(1)));
    switch.files.save_credentials().unwrap();
    let newer = cluster.certificate("switch1", in_hours(3));
    switch.kubelet_gets(&newer);
    assert!(!switch.files.restore_credentials().unwrap());
    assert_eq!(switch.read("var/lib/kubelet/pki/kubelet-client-current.pem"), newer);
}

#[test]
fn leaving_takes_all_that_is_ours_and_nothing_else_and_can_be_done_twice() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    switch.saved().save(&token()).unwrap();
    switch.kubelet_gets(&cluster.certificate("switch1", in_hours(1)));
    switch.files.save_credentials().unwrap();
    switch.saved().forget().unwrap();
    let sonics = "etc/systemd/system/kubelet.service.d/10-kubeadm.conf";
    fs::write(switch.root.path().join(sonics), "[Service]\n").unwrap();
    assert_eq!(switch.files.forget().unwrap(), Changed { unit: true, files: true });
    assert_eq!(switch.all(), [sonics]);
    assert_eq!(switch.files.forget().unwrap(), Changed::default());
    assert_eq!(switch.files.joined_to(), None);
}

#[test]
fn a_leave_that_was_cut_short_is_still_ours_to_carry_on() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    // What comes last of all but one cannot be removed.
    let stuck = switch.root.path().join("host/switchyard/kubernetes/ca.crt");
    fs::create_dir_all(&stuck).unwrap();
    switch.files.forget().unwrap_err();
    assert_eq!((switch.files.joined_to(), switch.files.are_ours()), (None, true));
    fs::remove_dir(&stuck).unwrap();
    assert_eq!(switch.files.forget().unwrap(), Changed { unit: true, files: false });
    assert!(!switch.files.are_ours());
}

#[test]
fn half_of_the_kubelet_s_own_pair_is_taken_away_at_the_next_join_and_a_whole_one_stays() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    switch.kubelet_gets(&cluster.certificate("switch1", in_hours(1)));
    let half = |name: &str| switch.root.path().join("var/lib/kubelet/pki").join(name);
    for name in ["kubelet.crt", "kubelet.key"] {
        fs::write(half(name), "junk").unwrap();
    }
    switch.join(&cluster, Some(&token())).unwrap();
    assert!(half("kubelet.crt").exists() && half("kubelet.key").exists());
    fs::remove_file(half("kubelet.key")).unwrap();
    switch.join(&cluster, Some(&token())).unwrap();
    assert!(!half("kubelet.crt").exists());
}

#[test]
fn a_configuration_that_is_not_ours_outlives_a_leave() {
    let switch = Switch::new();
    let path = switch.root.path().join("var/lib/kubelet/config.yaml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "kind: KubeletConfiguration\n").unwrap();
    switch.files.forget().unwrap();
    assert!(path.exists());
}

/// SONIC.md 12.2: each boot of a switch without a server reset whatever kubelet there was.
#[test]
fn a_kubelet_that_somebody_else_set_up_is_not_ours() {
    let switch = Switch::new();
    let path = switch.root.path().join("etc/kubernetes/kubelet.conf");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "clusters:\n- cluster:\n    server: https://10.0.0.5:6443\n").unwrap();
    assert_eq!(switch.files.joined_to(), None);
}

#[test]
fn broken_files_are_told_by_their_name_or_count_as_absent() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    fs::write(switch.root.path().join("etc/kubernetes/ca.crt"), "junk").unwrap();
    let error = switch.files.ca().unwrap_err();
    assert!(error.to_string().contains("ca.crt"), "{error}");
    switch.kubelet_gets("junk");
    assert!(switch.files.client_certificate().is_none());
    switch.join(&cluster, Some(&token())).unwrap();
    assert_eq!(switch.files.ca().unwrap(), Some(cluster.ca()));
}
