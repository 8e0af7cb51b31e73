//! The life of k3s's files: join, join again, change of the image, another cluster, leave, in a directory of their own.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::kubelet::CgroupDriver;
use crate::switch_files::SwitchFiles;
use crate::token::{self, K3sToken};

const SECRET: &str = "s3cret0123456789";
const UNIT: &str = "etc/systemd/system/k3s-agent.service.d/10-switchyard.conf";
const AGENT: &str = "var/lib/rancher/k3s/agent";

struct Switch {
    files: K3sFiles,
    root: tempfile::TempDir,
    node: NodeName,
}

struct Cluster(CertifiedIssuer<'static, KeyPair>);

impl Cluster {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn ca(&self) -> CaCertificate {
        CaCertificate::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    /// A node's certificate and key, good for so many hours.
    fn certificate(&self, node: &str, hours: u64) -> (String, String) {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
        parameters.not_before = (SystemTime::now() - Duration::from_hours(1)).into();
        parameters.not_after = (SystemTime::now() + Duration::from_hours(hours)).into();
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

fn server(host: &str) -> ServerAddress {
    ServerAddress::new(host, 6443).unwrap()
}

fn token() -> Credential {
    Credential::K3s(K3sToken::parse(SECRET).unwrap())
}

impl Switch {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let node = NodeName::from_host_name("Switch1").unwrap();
        Self { files: K3sFiles::below(root.path()), root, node }
    }

    fn begin_join(
        &self,
        host: &str,
        cluster: &Cluster,
        token: Option<&Credential>,
    ) -> Result<Changed, ClusterError> {
        let address = Some(Ipv4Addr::new(10, 0, 0, 7).into());
        let settings = Settings { node: &self.node, address, cgroup_driver: CgroupDriver::Systemd };
        self.files.write_for_join(&server(host), &cluster.ca(), token, &settings)
    }

    fn join(&self, cluster: &Cluster, token: Option<&Credential>) -> Result<Changed, ClusterError> {
        let changed = self.begin_join("10.0.0.5", cluster, token)?;
        self.files.started()?;
        Ok(changed)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// As k3s does when it has joined.
    fn k3s_joins(&self, cluster: &Cluster, (certificate, key): &(String, String)) {
        self.write(&format!("{AGENT}/client-kubelet.crt"), &(certificate.clone() + &cluster.0.pem()));
        self.write(&format!("{AGENT}/client-kubelet.key"), key);
        self.write(&format!("{AGENT}/server-ca.crt"), &cluster.0.pem());
        for name in
            ["client-ca.crt", "kubelet.kubeconfig", "serving-kubelet.key", "etc/k3s-agent-load-balancer.json"]
        {
            self.write(&format!("{AGENT}/{name}"), "https://127.0.0.1:6444");
        }
        self.write("etc/rancher/node/password", "0123456789abcdef\n");
    }
}

impl SwitchFiles for Switch {
    fn root(&self) -> &Path {
        self.root.path()
    }
}

#[test]
fn a_join_writes_four_files_and_does_so_once() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    assert_eq!(switch.files.joined_to(), None);
    let changed = switch.join(&cluster, Some(&token())).unwrap();
    assert_eq!(changed, Changed { unit: true, files: true });
    let written = [
        "etc/rancher/k3s/config.yaml.d/90-switchyard.yaml",
        "etc/rancher/k3s/switchyard-token",
        UNIT,
        "var/lib/rancher/k3s/agent/server-ca.crt",
    ];
    assert_eq!(switch.all(), written);
    assert_eq!(
        switch.read(written[0]),
        "# Written by switchyard, removed when the switch leaves its cluster.\n\
         server: \"https://10.0.0.5:6443\"\n\
         token-file: \"/etc/rancher/k3s/switchyard-token\"\n\
         data-dir: \"/var/lib/rancher/k3s\"\n\
         node-name: \"switch1\"\n\
         node-ip: \"10.0.0.7\"\n\
         docker: true\n\
         kubelet-arg+:\n\
         - \"image-gc-high-threshold=100\"\n\
         - \"eviction-hard=memory.available<100Mi,nodefs.available<0%,nodefs.inodesFree<0%,imagefs.available<0%\"\n\
         - \"enforce-node-allocatable=none\"\n\
         - \"fail-swap-on=false\"\n"
    );
    assert!(
        switch.read(UNIT).ends_with("ExecStart=\nExecStart=/usr/local/bin/k3s agent\n"),
        "{}",
        switch.read(UNIT)
    );
    assert_eq!(switch.files.joined_to(), Some(server("10.0.0.5")));
    assert!(!switch.join(&cluster, Some(&token())).unwrap().any(), "joining twice changes nothing");
    assert!(switch.begin_join("10.0.0.6", &cluster, Some(&token())).unwrap().files);
    assert_eq!(switch.files.joined_to(), Some(server("10.0.0.6")));
}

#[test]
fn the_unit_starts_k3s_where_it_lies() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.write("usr/bin/k3s", "");
    fs::set_permissions(switch.root.path().join("usr/bin/k3s"), fs::Permissions::from_mode(0o755)).unwrap();
    switch.join(&cluster, Some(&token())).unwrap();
    assert!(switch.read(UNIT).contains("\nExecStart=/usr/bin/k3s agent\n"));
}

#[test]
fn the_token_is_in_one_file_that_root_alone_reads_and_names_the_verified_cluster() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    let with_secret: Vec<String> =
        switch.all().into_iter().filter(|name| switch.read(name).contains(SECRET)).collect();
    assert_eq!(with_secret, ["etc/rancher/k3s/switchyard-token"]);
    assert_eq!((switch.mode(&with_secret[0]), switch.mode("etc/rancher/k3s")), (0o600, 0o700));
    let hash = token::sha256(cluster.ca().pem().as_bytes());
    assert_eq!(switch.read(&with_secret[0]), format!("K10{hash}::node:{SECRET}"));
}

#[test]
fn nothing_but_a_token_of_k3s_lets_it_in() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    assert_eq!(switch.join(&cluster, None).unwrap_err().reason(), "NoCredentials");
    let bootstrap = Credential::Token(crate::Token::parse("abcdef.0123456789abcdef").unwrap());
    assert_eq!(switch.join(&cluster, Some(&bootstrap)).unwrap_err().reason(), "WantsK3sToken");
    assert_eq!(switch.all(), Vec::<String>::new(), "what is refused writes nothing");
}

#[test]
fn what_a_join_that_was_cut_short_has_changed_is_still_to_be_told() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    assert!(switch.begin_join("10.0.0.5", &cluster, Some(&token())).unwrap().unit);
    assert!(switch.begin_join("10.0.0.5", &cluster, Some(&token())).unwrap().unit);
    switch.files.started().unwrap();
    assert!(!switch.join(&cluster, Some(&token())).unwrap().any());
}

#[test]
fn a_node_that_has_its_certificate_needs_no_token_and_speaks_with_it() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    assert_eq!(switch.files.identity(&switch.node).err().unwrap().reason(), "NoCredentials");
    switch.k3s_joins(&cluster, &cluster.certificate("switch1", 1));
    let (certificate, _) = switch.files.identity(&switch.node).unwrap();
    assert_eq!(certificate.node, "switch1");
    assert!(switch.join(&cluster, None).unwrap().files);
    assert!(
        !switch.all().iter().any(|name| name.contains("token")),
        "a token that is gone is not left lying"
    );
    assert!(!switch.read("etc/rancher/k3s/config.yaml.d/90-switchyard.yaml").contains("token"));
    assert_eq!(switch.files.joined_to(), Some(server("10.0.0.5")), "not k3s's own port");
}

/// k3s writes one file after the other, and may be killed between.
#[test]
fn a_certificate_beside_another_key_counts_as_none() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    let other = cluster.certificate("switch1", 1).1;
    switch.k3s_joins(&cluster, &(cluster.certificate("switch1", 1).0, other));
    assert_eq!(switch.files.client_certificate(), None);
    assert!(!switch.files.save_credentials().unwrap());
}

#[test]
fn a_certificate_of_another_cluster_is_not_shown_and_its_servers_are_forgotten() {
    let (switch, old, new) = (Switch::new(), Cluster::new(), Cluster::new());
    switch.join(&old, Some(&token())).unwrap();
    switch.k3s_joins(&old, &old.certificate("switch1", 1));
    assert_eq!(switch.join(&new, None).unwrap_err().reason(), "NoCredentials");
    assert!(switch.files.client_certificate().is_some(), "what is refused changes nothing");
    switch.join(&new, Some(&token())).unwrap();
    assert_eq!(switch.files.client_certificate(), None);
    assert_eq!(switch.files.ca().unwrap(), Some(new.ca()));
    let left: Vec<String> = switch.all().into_iter().filter(|name| name.starts_with(AGENT)).collect();
    assert_eq!(left, ["var/lib/rancher/k3s/agent/server-ca.crt"]);
}

#[test]
fn the_ca_that_k3s_keeps_up_to_date_is_left_to_it() {
    let (switch, cluster, next) = (Switch::new(), Cluster::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    let both = cluster.0.pem() + &next.0.pem();
    switch.write(&format!("{AGENT}/server-ca.crt"), &both);
    assert!(!switch.join(&cluster, Some(&token())).unwrap().any());
    assert_eq!(switch.files.ca().unwrap().unwrap().pins().len(), 2);
}

#[test]
fn a_node_stays_the_same_node_over_a_change_of_the_image() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    assert!(!switch.files.save_credentials().unwrap(), "nothing to save yet");
    switch.join(&cluster, Some(&token())).unwrap();
    let certificate = cluster.certificate("switch1", 1);
    switch.k3s_joins(&cluster, &certificate);
    assert!(switch.files.save_credentials().unwrap());
    assert!(!switch.files.save_credentials().unwrap(), "saved once");

    switch.change_image();
    for name in switch.all() {
        assert_eq!(switch.mode(&name), 0o600, "{name}");
    }
    assert!(switch.files.restore_credentials().unwrap());
    assert!(!switch.files.restore_credentials().unwrap(), "restored once");
    assert_eq!(switch.read("etc/rancher/node/password"), "0123456789abcdef\n");
    for name in ["etc/rancher/node/password", "var/lib/rancher/k3s/agent/client-kubelet.key"] {
        assert_eq!(switch.mode(name), 0o600, "{name}");
    }
    switch.join(&cluster, None).unwrap();

    // One that k3s has got since is newer.
    let newer = cluster.certificate("switch1", 3);
    switch.k3s_joins(&cluster, &newer);
    assert!(!switch.files.restore_credentials().unwrap());
    assert_eq!(switch.read(&format!("{AGENT}/client-kubelet.key")), newer.1);
}

#[test]
fn the_password_alone_is_brought_back_too() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.write("host/switchyard/kubernetes/k3s/node-password", "0123456789abcdef");
    assert!(switch.files.restore_credentials().unwrap());
    switch.join(&cluster, Some(&token())).unwrap();
    assert_eq!(switch.files.node_password().unwrap().unwrap(), "0123456789abcdef");
}

#[test]
fn leaving_takes_all_that_is_ours_or_of_the_cluster_and_can_be_done_twice() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    let operators = [
        "etc/rancher/k3s/config.yaml",
        "etc/rancher/k3s/config.yaml.d/10-pause-image.yaml",
        "etc/systemd/system/k3s-agent.service",
    ];
    for path in operators {
        switch.write(path, "x");
    }
    switch.join(&cluster, Some(&token())).unwrap();
    switch.k3s_joins(&cluster, &cluster.certificate("switch1", 1));
    switch.files.save_credentials().unwrap();
    assert_eq!(switch.files.forget().unwrap(), Changed { unit: true, files: true });
    assert_eq!(switch.all(), operators);
    assert_eq!(switch.files.forget().unwrap(), Changed::default());
    assert_eq!((switch.files.joined_to(), switch.files.are_ours()), (None, false));
}

#[test]
fn a_leave_that_was_cut_short_is_still_ours_to_carry_on() {
    let (switch, cluster) = (Switch::new(), Cluster::new());
    switch.join(&cluster, Some(&token())).unwrap();
    let stuck = switch.root.path().join("host/switchyard/kubernetes/k3s/node-password");
    fs::create_dir_all(&stuck).unwrap();
    switch.files.forget().unwrap_err();
    assert_eq!((switch.files.joined_to(), switch.files.are_ours()), (None, true));
    fs::remove_dir(&stuck).unwrap();
    assert_eq!(switch.files.forget().unwrap(), Changed { unit: true, files: false });
}

#[test]
fn a_k3s_that_somebody_else_set_up_is_not_ours() {
    let switch = Switch::new();
    switch.write("etc/rancher/k3s/config.yaml", "server: https://10.0.0.5:6443\n");
    assert_eq!((switch.files.joined_to(), switch.files.are_ours()), (None, false));
}
