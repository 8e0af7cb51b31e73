//! The programs of a control plane: how each is called, and when it is ready.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::build::Programs;
use super::process::Process;
use super::site::{Port, Site};
use super::{pki, registry};
use crate::command::run;

/// A program of the control plane, in the order in which they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The store.
    Etcd,
    /// What switches talk to.
    ApiServer,
    /// Makes pods for DaemonSets, signs certificates, notices nodes that went away.
    ControllerManager,
    /// Gives pods to nodes.
    Scheduler,
    /// Where switches pull images from.
    Registry,
    /// The registry's other door, where this machine pushes images.
    RegistryUploads,
}

/// A program on this machine answers at once, if it answers.
const CONNECT_MAX: Duration = Duration::from_secs(1);

impl Part {
    /// All of them, first to last.
    pub const ALL: [Part; 6] = [
        Part::Etcd,
        Part::ApiServer,
        Part::ControllerManager,
        Part::Scheduler,
        Part::Registry,
        Part::RegistryUploads,
    ];

    /// Its name in commands, logs and pid files.
    pub fn name(self) -> &'static str {
        match self {
            Part::Etcd => "etcd",
            Part::ApiServer => "kube-apiserver",
            Part::ControllerManager => "kube-controller-manager",
            Part::Scheduler => "kube-scheduler",
            Part::Registry => "registry",
            Part::RegistryUploads => "registry-uploads",
        }
    }

    pub(super) fn process(self, site: &Site) -> Process {
        Process::new(site, self.name())
    }

    /// Starts it if it does not run, and waits until it answers.
    pub(super) fn ensure(self, site: &Site, programs: &Programs) -> Result<()> {
        let process = self.process(site);
        process.ensure(&self.command(site, programs)?)?;
        process.wait_ready(|| self.answers(site, programs))
    }

    fn command(self, site: &Site, programs: &Programs) -> Result<Vec<String>> {
        let program = |name: &str| programs.path(name).to_string_lossy().into_owned();
        Ok(match self {
            Part::Etcd => [vec![program("etcd")], etcd(site)].concat(),
            Part::ApiServer => [vec![program(self.name())], api_server(site)].concat(),
            Part::ControllerManager => [vec![program(self.name())], controller_manager(site)].concat(),
            Part::Scheduler => [vec![program(self.name())], scheduler(site)].concat(),
            Part::Registry => registry::command(site, registry::Door::Pull)?,
            Part::RegistryUploads => registry::command(site, registry::Door::Push)?,
        })
    }

    fn answers(self, site: &Site, programs: &Programs) -> bool {
        let kubectl = |server: &[&str], path: &str| {
            let kubeconfig = format!("--kubeconfig={}", site.text("pki/admin.kubeconfig"));
            let question = [server, &[&kubeconfig, "--request-timeout=5s", "get", "--raw", path]].concat();
            run(&programs.path("kubectl").to_string_lossy(), &question).is_ok_and(|output| output.success())
        };
        // Their serving certificates are of their own making and asked about their health only.
        let local = |port| {
            let server = format!("--server=https://127.0.0.1:{}", site.port(port));
            kubectl(&[&server, "--insecure-skip-tls-verify"], "/healthz")
        };
        match self {
            Part::Etcd => listens(Ipv4Addr::LOCALHOST, site.port(Port::Etcd)),
            Part::ApiServer => kubectl(&[], "/readyz"),
            Part::ControllerManager => local(Port::ControllerManager),
            Part::Scheduler => local(Port::Scheduler),
            Part::Registry => listens(site.address(), site.port(Port::Registry)),
            Part::RegistryUploads => listens(Ipv4Addr::LOCALHOST, site.port(Port::RegistryUploads)),
        }
    }
}

fn listens(address: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((address, port)), CONNECT_MAX).is_ok()
}

/// On the loopback only: whoever is on this machine as another user is trusted by the lab.
fn etcd(site: &Site) -> Vec<String> {
    let clients = format!("http://127.0.0.1:{}", site.port(Port::Etcd));
    let peers = format!("http://127.0.0.1:{}", site.port(Port::EtcdPeers));
    vec![
        format!("--data-dir={}", site.text("etcd")),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        "--log-level=warn".to_owned(),
    ]
}

fn api_server(site: &Site) -> Vec<String> {
    let file = |name: &str| site.text(&format!("pki/{name}"));
    let own = pki::server_name(site);
    vec![
        format!("--etcd-servers=http://127.0.0.1:{}", site.port(Port::Etcd)),
        format!("--bind-address={}", site.address()),
        format!("--advertise-address={}", site.address()),
        format!("--secure-port={}", site.port(Port::ApiServer)),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file(&format!("{own}.crt"))),
        format!("--tls-private-key-file={}", file(&format!("{own}.key"))),
        format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
        format!("--kubelet-client-key={}", file("kubelet-client.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--service-account-key-file={}", file("service-account.crt")),
        format!("--service-account-signing-key-file={}", file("service-account.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-bootstrap-token-auth=true".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
    ]
}

fn controller_manager(site: &Site) -> Vec<String> {
    let file = |name: &str| site.text(&format!("pki/{name}"));
    vec![
        format!("--kubeconfig={}", file("controller-manager.kubeconfig")),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", site.port(Port::ControllerManager)),
        format!("--cert-dir={}", site.text("run/controller-manager")),
        "--controllers=*,bootstrapsigner,tokencleaner".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", file("service-account.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--cluster-signing-cert-file={}", file("ca.crt")),
        format!("--cluster-signing-key-file={}", file("ca.key")),
        "--leader-elect=false".to_owned(),
    ]
}

fn scheduler(site: &Site) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", site.text("pki/scheduler.kubeconfig")),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", site.port(Port::Scheduler)),
        format!("--cert-dir={}", site.text("run/scheduler")),
        "--leader-elect=false".to_owned(),
    ]
}
