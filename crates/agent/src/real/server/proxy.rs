//! Docker's way to its registry through the Kubernetes server (SONIC.md 5.9): a rule in the kernel's NAT table leads what
//! Docker sends to its configured proxy to port 3128 of the server instead.
//!
//! Only where `use_k8s_as_http_proxy` asks for it. Rules of others are never touched; ours are told by whom they lead.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::net::lookup_host;
use tokio::process::Command;
use tracing::{info, warn};

use crate::world::{Trouble, trouble};

/// Where the server's proxy listens.
const SERVER_PORT: u16 = 3128;
/// What Docker was told of its proxy.
const DOCKER: &str = "/etc/systemd/system/docker.service.d/http_proxy.conf";
/// What a SONiC image is built with.
const SHIPPED: &str = "172.16.1.1:3128";

/// Whoever keeps the rule.
pub(super) struct Proxy {
    iptables: Vec<String>,
    docker: PathBuf,
    told: Option<String>,
}

impl Proxy {
    /// The switch's own table.
    pub(super) fn of_switch() -> Self {
        Self { iptables: vec!["iptables".to_owned()], docker: DOCKER.into(), told: None }
    }

    /// Leads to this server, or with none nowhere. What fails is said once.
    pub(super) async fn lead_to(&mut self, host: Option<&str>) {
        match self.try_to_lead_to(host).await {
            Ok(()) => self.told = None,
            Err(Trouble(why)) => {
                if self.told.as_ref() != Some(&why) {
                    warn!(%why, "Docker is not led through the Kubernetes server");
                    self.told = Some(why);
                }
            }
        }
    }

    async fn try_to_lead_to(&self, host: Option<&str>) -> Result<(), Trouble> {
        let proxy = docker_proxy(&self.docker)?;
        let to = match host {
            Some(host) => Some(resolve(host).await?),
            None => None,
        };
        let rules = self.run(&["-S", "OUTPUT"]).await?;
        for change in changes(&rules, proxy, to) {
            let words: Vec<&str> = change.split_whitespace().collect();
            self.run(&words).await?;
            info!("iptables -t nat {change}");
        }
        Ok(())
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, Trouble> {
        let (program, prefix) = self.iptables.split_first().ok_or_else(|| trouble("no iptables"))?;
        let output = Command::new(program)
            .args(prefix)
            .args(["--wait", "5", "--table", "nat"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| Trouble(format!("iptables cannot be run: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Trouble(format!("iptables: {}", said.split_whitespace().collect::<Vec<_>>().join(" "))))
    }
}

/// `Environment="HTTP_PROXY=http://172.16.1.1:3128/"`, among others.
fn docker_proxy(file: &Path) -> Result<SocketAddrV4, Trouble> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Trouble(format!("{}: {error}", file.display()))),
    };
    let address = text.split(['"', '\'', ' ', '\n']).find_map(|word| word.strip_prefix("HTTP_PROXY="));
    let address = address.map_or(SHIPPED, |url| url.trim_start_matches("http://").trim_end_matches('/'));
    address.parse().map_err(|_| {
        Trouble(format!("{}: the proxy {address:?} is no IPv4 address with a port", file.display()))
    })
}

async fn resolve(host: &str) -> Result<SocketAddrV4, Trouble> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, SERVER_PORT)],
        Err(_) => lookup_host((host, SERVER_PORT)).await.map_err(trouble)?.collect(),
    };
    let ipv4 = addresses.into_iter().find_map(|address| match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    });
    ipv4.ok_or_else(|| Trouble(format!("{host} has no IPv4 address, and Docker's proxy has only that")))
}

/// What makes the rules so: all but one right rule of ours go, and one that is missing comes.
fn changes(rules: &str, proxy: SocketAddrV4, to: Option<SocketAddrV4>) -> Vec<String> {
    let (from, port) = (proxy.ip(), proxy.port());
    let ours = format!("-A OUTPUT -d {from}/32 -p tcp -m tcp --dport {port} -j DNAT --to-destination ");
    let wanted = to.map(|to| format!("{ours}{to}"));
    let mut changes = Vec::new();
    let mut is_there = false;
    for rule in rules.lines().filter(|rule| rule.starts_with(&ours)) {
        if !is_there && wanted.as_deref() == Some(rule.trim_end()) {
            is_there = true;
        } else {
            changes.push(rule.trim_end().replacen("-A", "-D", 1));
        }
    }
    changes.extend(wanted.filter(|_| !is_there));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> SocketAddrV4 {
        SHIPPED.parse().unwrap()
    }

    #[test]
    fn dockers_proxy_is_read_and_what_ships_counts_without_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("http_proxy.conf");
        assert_eq!(docker_proxy(&file), Ok(proxy()));
        let text = "[Service]\nEnvironment=\"HTTP_PROXY=http://10.1.2.3:8080/\" \"NO_PROXY=x\"\n";
        std::fs::write(&file, text).unwrap();
        assert_eq!(docker_proxy(&file), Ok("10.1.2.3:8080".parse().unwrap()));
        std::fs::write(&file, "Environment=\"HTTP_PROXY=http://proxy.example.com:3128/\"").unwrap();
        assert!(docker_proxy(&file).unwrap_err().0.contains("proxy.example.com"));
    }

    #[test]
    fn rules_that_differ_or_are_double_go_and_those_of_others_stay() {
        let to = |text: &str| Some(text.parse().unwrap());
        let rule = |to: &str| {
            format!("-A OUTPUT -d 172.16.1.1/32 -p tcp -m tcp --dport 3128 -j DNAT --to-destination {to}")
        };
        let (right, old) = (rule("10.0.0.5:3128"), rule("10.0.0.4:3128"));
        let foreign = "-P OUTPUT ACCEPT\n-A OUTPUT -d 10.9.9.9/32 -p tcp -m tcp --dport 3128 -j DNAT --to-destination 1.1.1.1:1";
        assert_eq!(changes(foreign, proxy(), to("10.0.0.5:3128")), std::slice::from_ref(&right));
        let both = format!("{foreign}\n{old}\n{right}\n{right}");
        let gone = [old.replacen("-A", "-D", 1), right.replacen("-A", "-D", 1)];
        assert_eq!(changes(&both, proxy(), to("10.0.0.5:3128")), gone);
        assert_eq!(changes(&both, proxy(), None).len(), 3);
        assert!(changes(&right, proxy(), to("10.0.0.5:3128")).is_empty());
    }

    /// In a network namespace of its own, held open by a process that sleeps there.
    #[tokio::test]
    async fn the_kernels_table_follows_the_server_and_forgets_it() {
        let mut holder =
            Command::new("unshare").args(["--net", "sleep", "1000"]).kill_on_drop(true).spawn().unwrap();
        let namespace = format!("--net=/proc/{}/ns/net", holder.id().unwrap());
        let entered = |mine: &str| std::fs::read_link(mine.trim_start_matches("--net=")).unwrap();
        while entered(&namespace) == entered("--net=/proc/self/ns/net") {
            tokio::task::yield_now().await;
        }
        let iptables = ["nsenter", &namespace, "iptables"].map(ToOwned::to_owned).to_vec();
        let docker = PathBuf::from("/nonexistent/http_proxy.conf");
        let proxy = Proxy { iptables, docker, told: None };
        let led = async || {
            let rules = proxy.run(&["-S", "OUTPUT"]).await.unwrap();
            rules
                .lines()
                .filter_map(|rule| rule.split("--to-destination ").nth(1))
                .collect::<Vec<_>>()
                .join(" ")
        };
        for server in ["10.0.0.5", "10.0.0.5", "10.0.0.6"] {
            proxy.try_to_lead_to(Some(server)).await.unwrap();
            assert_eq!(led().await, format!("{server}:3128"));
        }
        proxy.try_to_lead_to(None).await.unwrap();
        assert_eq!(led().await, "");
        assert!(proxy.try_to_lead_to(Some("fd00::5")).await.unwrap_err().0.contains("no IPv4 address"));
        holder.kill().await.unwrap();
    }
}
