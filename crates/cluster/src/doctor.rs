//! What a switch needs to join its cluster, looked at piece by piece, in the order in which a join needs it.
//!
//! It changes nothing. What rests on something that was found missing is not looked at, because it could only say the
//! same again.

use std::path::Path;
use std::time::SystemTime;

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpStream;

use crate::address::ServerAddress;
use crate::client::Client;
use crate::credential::Credential;
use crate::discover::recognize;
use crate::error::{ClusterError, one_line};
use crate::forms::NodeName;
use crate::https::{CALL_MAX, within};
use crate::invitation::Invitation;
use crate::node_files::NodeFiles;
use crate::program::Program;
use crate::route::resolve;
use crate::trust::CaCertificate;

/// Clusters date their certificates back by five minutes, so that clocks may differ by so much.
const CLOCK_MAX: SignedDuration = SignedDuration::from_mins(5);

/// A certificate that ends within this time should have been renewed long ago: kubelets do so after two thirds of it.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// A join works with it, and something else may not.
    Warning,
    /// No join works with it.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in a few words.
    pub name: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it, if that is not part of what was found.
    pub remedy: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, found: found.into(), remedy: None }
    }

    fn of(name: &'static str, verdict: Verdict, found: impl Into<String>, remedy: &str) -> Self {
        Self { name, verdict, found: found.into(), remedy: Some(remedy.to_owned()) }
    }

    /// An error tells by itself what to do.
    fn bad(name: &'static str, error: impl std::fmt::Display) -> Self {
        Self { name, verdict: Verdict::Bad, found: error.to_string(), remedy: None }
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'a> {
    /// What the switch was told of its cluster, if anything. What cannot be read as that is for the caller to say.
    pub invitation: Option<&'a Invitation>,
    /// The switch's host name.
    pub host_name: &'a str,
    /// Its files.
    pub files: &'a NodeFiles,
}

/// Looks at all that a join needs.
pub async fn checks(examined: &Examined<'_>) -> Vec<Check> {
    let files = examined.files;
    let mut found = vec![program(files.about(), files.root()), unit(files.about(), files.root())];
    let node = NodeName::from_host_name(examined.host_name);
    found.push(match &node {
        Ok(node) => Check::good("node name", node.as_str()),
        Err(error) => Check::bad("node name", error),
    });
    let Some(invitation) = examined.invitation else {
        found.push(Check::of(
            "server",
            Verdict::Bad,
            "none is configured",
            "config kubernetes server ip <address>",
        ));
        return found;
    };
    found.push(Check::good("server", invitation.server.to_string()));
    let ca = cluster(invitation, files, &mut found).await;
    let Ok(node) = node else { return found };
    let certified = credentials(files, invitation, &node, &mut found);
    if let Some(ca) = ca {
        if let Some(credential) = &invitation.credential {
            let is_certificate = matches!(credential, Credential::Certificate(_));
            let name = if is_certificate { "client certificate" } else { "token" };
            found.push(match files.try_credential(&invitation.server, &ca, credential).await {
                Ok(()) => Check::good(name, format!("{credential} is accepted")),
                // A switch that has its certificate does not need it.
                Err(error) if certified => Check { verdict: Verdict::Warning, ..Check::bad(name, error) },
                Err(error) => Check::bad(name, error),
            });
        }
        if certified && files.joined_to().is_some() {
            let client = Client::new(invitation.server.clone(), node, files.clone());
            found.push(joined(&client, files.unit()).await);
        }
    }
    found
}

fn program(about: &Program, root: &Path) -> Check {
    if let Some(program) = about.found(root) {
        return Check::good(about.name, program);
    }
    let found = format!("there is no program {}", about.programs.join(" or "));
    Check::of(about.name, Verdict::Bad, found, about.remedy)
}

fn unit(about: &Program, root: &Path) -> Check {
    const NAME: &str = "its unit";
    match about.unit_found(root) {
        Some(unit) => Check::good(NAME, unit),
        None => Check::of(NAME, Verdict::Bad, format!("there is no {}", about.unit), about.remedy),
    }
}

/// From the name's resolution to the verified CA. None if it did not come so far.
async fn cluster(
    invitation: &Invitation,
    files: &NodeFiles,
    found: &mut Vec<Check>,
) -> Option<CaCertificate> {
    let server = &invitation.server;
    match within(server, CALL_MAX, resolve(server)).await {
        Ok(addresses) => {
            let texts: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            found.push(Check::good("address", texts.join(", ")));
        }
        Err(error) => {
            found.push(Check::bad("address", error));
            return None;
        }
    }
    match within(server, CALL_MAX, reach(server)).await {
        Ok(from) => found.push(Check::good("connection", format!("reached from {from}"))),
        Err(error) => {
            found.push(Check::bad("connection", error));
            return None;
        }
    }
    let known = files.ca().ok().flatten().filter(|ca| invitation.allows(ca));
    if !invitation.tells_cluster()
        && let Some(ca) = known
    {
        let recognized = recognize(server, &ca).await;
        found.push(match &recognized {
            Ok(()) => by_its_join(&ca),
            Err(error) => Check::bad("cluster", error),
        });
        return recognized.is_ok().then_some(ca);
    }
    let seen = match files.look(invitation).await {
        Ok(seen) => seen,
        Err(error) => {
            found.push(Check::bad("cluster", error));
            return None;
        }
    };
    found.extend(seen.date.as_deref().and_then(|date| clock(date, Timestamp::now())));
    let error = match seen.ca {
        Ok(ca) => {
            found.push(trusted(invitation, &pins(&ca)));
            return Some(ca);
        }
        Err(error) => error,
    };
    // The token that a switch joined with expires, and is needed no more.
    match known {
        Some(ca) if recognize(server, &ca).await.is_ok() => {
            found.push(by_its_join(&ca));
            Some(ca)
        }
        _ => {
            found.push(Check::bad("cluster", error));
            None
        }
    }
}

fn by_its_join(ca: &CaCertificate) -> Check {
    Check::good("cluster", format!("known by the CA of its join, {}", pins(ca)))
}

fn pins(ca: &CaCertificate) -> String {
    let pins: Vec<String> = ca.pins().iter().map(ToString::to_string).collect();
    pins.join(", ")
}

async fn reach(server: &ServerAddress) -> Result<String, ClusterError> {
    let connect = async { TcpStream::connect((server.host(), server.port())).await?.local_addr() };
    connect.await.map(|local| local.ip().to_string()).map_err(|error| ClusterError::Unreachable {
        server: server.clone(),
        cause: one_line(&error.to_string()),
    })
}

fn trusted(invitation: &Invitation, pins: &str) -> Check {
    let by = match (&invitation.pin, &invitation.credential) {
        (Some(_), _) => "known by its pin",
        (None, Some(Credential::Token(_))) => "known by the token's signature",
        (None, Some(Credential::K3s(token))) if token.names_cluster() => "known by the hash in its token",
        (None, _) => {
            let found = format!("its CA {pins} was taken as presented, because insecure is set");
            let remedy = "give the pin or a token, then: config kubernetes server insecure off";
            return Check::of("cluster", Verdict::Warning, found, remedy);
        }
    };
    Check::good("cluster", format!("{by}; its CA is {pins}"))
}

/// None if the server's date is none.
fn clock(date: &str, now: Timestamp) -> Option<Check> {
    let server = rfc2822::parse(date).ok()?.timestamp();
    let off = now.duration_since(server);
    let found = format!("differs from the server's by {} s", off.as_secs().abs());
    if off.abs() <= CLOCK_MAX {
        return Some(Check::good("clock", found));
    }
    Some(Check::of(
        "clock",
        Verdict::Warning,
        found,
        "set the clock (config ntp add <server>): certificates go by it",
    ))
}

/// True if the switch has a certificate of this node that is still good.
fn credentials(files: &NodeFiles, invitation: &Invitation, node: &NodeName, found: &mut Vec<Check>) -> bool {
    const NAME: &str = "credentials";
    let Some(certificate) = files.client_certificate() else {
        found.push(match &invitation.credential {
            Some(credential) => Check::good(NAME, format!("no certificate yet; {credential} is to get one")),
            None => Check::bad(NAME, ClusterError::NoCredentials { node: node.clone() }),
        });
        return false;
    };
    if certificate.node != node.as_str() {
        let text =
            format!("the certificate is of node {}, and this is node {node}", one_line(&certificate.node));
        found.push(Check::of(
            NAME,
            Verdict::Warning,
            text,
            "joining anew takes a token: config kubernetes server token",
        ));
        return false;
    }
    if let Err(error) = certificate.check(SystemTime::now()) {
        let verdict = if invitation.credential.is_some() { Verdict::Warning } else { Verdict::Bad };
        found.push(Check { verdict, ..Check::bad(NAME, error) });
        return false;
    }
    found.push(expiry(
        NAME,
        files,
        node,
        Timestamp::try_from(certificate.not_after).unwrap_or(Timestamp::MAX),
    ));
    true
}

fn expiry(name: &'static str, files: &NodeFiles, node: &NodeName, end: Timestamp) -> Check {
    let found = format!("a certificate of node {node} until {end}");
    if end.duration_since(Timestamp::now()) > EXPIRES_SOON {
        return Check::good(name, found);
    }
    let remedy = format!("it should have been renewed; see: journalctl --unit {}", files.unit());
    Check::of(name, Verdict::Warning, found, &remedy)
}

async fn joined(client: &Client, unit: &str) -> Check {
    const NAME: &str = "node";
    match client.node().await {
        Ok(Some(node)) if node.ready => Check::good(NAME, "is Ready"),
        Ok(Some(node)) => Check::of(
            NAME,
            Verdict::Warning,
            format!("is not Ready ({})", one_line(&node.ready_reason)),
            &format!("see: journalctl --unit {unit}"),
        ),
        Ok(None) => Check::of(
            NAME,
            Verdict::Warning,
            "the cluster has no Node of this name",
            &format!("its kubelet makes it when it starts: systemctl restart {unit}"),
        ),
        Err(error) => Check::bad(NAME, error),
    }
}

#[cfg(test)]
mod tests {
    use switchyard_core::NodeProgram;

    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_told() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        let verdict = |date| clock(date, now).map(|check| check.verdict);
        assert_eq!(verdict("Sat, 21 Nov 2026 08:04:59 GMT"), Some(Verdict::Good));
        assert_eq!(verdict("Sat, 21 Nov 2026 07:54:00 GMT"), Some(Verdict::Warning));
        assert_eq!(verdict("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Verdict::Warning));
        assert_eq!(verdict("yesterday"), None);
    }

    #[tokio::test]
    async fn a_switch_without_anything_is_told_all_that_is_missing() {
        let root = tempfile::tempdir().unwrap();
        for (preferred, name) in [(NodeProgram::Kubelet, "kubelet"), (NodeProgram::K3s, "k3s")] {
            let files = NodeFiles::installed(root.path(), preferred);
            let found = checks(&Examined { invitation: None, host_name: "sw_1", files: &files }).await;
            let bad: Vec<&str> =
                found.iter().filter(|check| check.verdict == Verdict::Bad).map(|check| check.name).collect();
            assert_eq!(bad, [name, "its unit", "node name", "server"]);
            let told = |check: &Check| check.remedy.is_some() || check.found.contains("config hostname");
            assert!(found.iter().all(told), "{found:?}");
        }
    }
}
