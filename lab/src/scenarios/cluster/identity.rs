//! What `packaging/cluster` allows a switch, and what it must not: each refusal for the reason it should have.

use anyhow::{Context, Result, ensure};

use super::by_hand::Node;
use crate::cluster::Cluster;
use crate::command::Output;

/// A node that is none of ours.
const OTHER: &str = "other";

/// Somebody's kubectl: what comes before the verb.
struct Person<'a> {
    cluster: &'a Cluster,
    credentials: Vec<String>,
}

impl Person<'_> {
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let credentials: Vec<&str> = self.credentials.iter().map(String::as_str).collect();
        self.cluster.kubectl_run(&[credentials.as_slice(), arguments].concat())
    }

    fn may(&self, arguments: &[&str]) -> Result<()> {
        let output = self.run(arguments)?;
        ensure!(output.success(), "`{}` should be allowed: {}", arguments.join(" "), output.stderr);
        Ok(())
    }

    fn may_not(&self, arguments: &[&str], because: &str) -> Result<()> {
        let output = self.run(arguments)?;
        let command = arguments.join(" ");
        ensure!(!output.success(), "`{command}` should be refused");
        let said = &output.stderr;
        ensure!(said.contains(because), "`{command}` should be refused because of {because:?}: {said}");
        Ok(())
    }
}

pub(super) fn node(node: &Node<'_>) -> Result<()> {
    let cluster = &node.cluster;
    let person = |name: &str| Person {
        cluster,
        credentials: vec![format!("--as=system:node:{name}"), "--as-group=system:nodes".to_owned()],
    };
    let (own, other) = (person(node.name()), person(OTHER));
    own.may(&["label", "node", node.name(), "bgp_enabled=true"])?;
    own.may(&["annotate", "node", node.name(), "switchyard/owner=local"])?;
    own.may_not(&["taint", "node", node.name(), "bgp=disabled:NoSchedule"], "not allowed to modify taints")?;

    with_other(cluster, || {
        own.may_not(&["delete", "node", OTHER], "is not allowed to modify node")?;
        own.may_not(&["label", "node", OTHER, "a=b"], "only its own Node object")?;
        let taint = |taint| cluster.kubectl_ok(&["taint", "node", OTHER, taint]);
        taint("dedicated=others:NoSchedule")?;
        other.may_not(&["delete", "node", OTHER], "an administrator has to delete it")?;
        taint("dedicated-")?;
        taint("bgp=disabled:NoSchedule")?;
        other.may(&["delete", "node", OTHER])
    })
}

pub(super) fn agent(node: &Node<'_>) -> Result<()> {
    let cluster = &node.cluster;
    let own = node.name();
    node.deploy()?;
    node.wait_serves()?;
    let bound = ["--bound-object-kind=Node".to_owned(), format!("--bound-object-name={own}")];
    let agent = with_token(cluster, "agent", &bound)?;
    agent.may(&["taint", "node", own, "bgp=disabled:NoSchedule"])?;
    agent.may(&["taint", "node", own, "bgp-"])?;
    agent.may(&["label", "node", own, "bgp_local=1"])?;
    agent.may(&["annotate", "node", own, "switchyard/owner=local"])?;
    agent.may_not(&["taint", "node", own, "bgp=other:NoExecute"], "only taints of the form")?;
    agent.may_not(&["label", "node", own, "node-role.kubernetes.io/master="], "own domains")?;
    // What `kubectl cordon` does; the command itself ends with 0 when it is refused.
    let cordon = ["patch", "node", own, "--patch", "{\"spec\":{\"unschedulable\":true}}"];
    agent.may_not(&cordon, "only labels, annotations and taints")?;
    let status =
        ["patch", "node", own, "--subresource=status", "--patch", "{\"status\":{\"phase\":\"Pending\"}}"];
    agent.may_not(&status, "forbidden")?;
    agent.may_not(&["delete", "node", own], "forbidden")?;
    with_other(cluster, || agent.may_not(&["label", "node", OTHER, "a=b"], "may change no other"))?;

    let pod = node.pod()?;
    let pod = pod["metadata"]["name"].as_str().context("there is no pod")?;
    let stranger = with_token(cluster, "stranger", &[])?;
    stranger.may_not(&["label", "node", own, "a=b"], "may change no other")?;
    stranger.may_not(&["--namespace=sonic", "delete", "pod", pod], "may delete pods of no other")?;
    agent.may(&["--namespace=sonic", "delete", "pod", pod])
}

/// A token of the agent's account, bound as `bound` says, in a kubeconfig of its own.
fn with_token<'a>(cluster: &'a Cluster, name: &str, bound: &[String]) -> Result<Person<'a>> {
    let mut create = vec!["--namespace=sonic", "create", "token", "switchyard-agent"];
    create.extend(bound.iter().map(String::as_str));
    let token = cluster.kubectl_ok(&create)?;
    let path = cluster.write_kubeconfig(name, &token)?;
    Ok(Person { cluster, credentials: vec![format!("--kubeconfig={}", path.display())] })
}

/// With a second node in the cluster, of which nothing but the name is there.
fn with_other(cluster: &Cluster, story: impl FnOnce() -> Result<()>) -> Result<()> {
    cluster.apply(&format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{{\"name\":\"{OTHER}\"}}}}"
    ))?;
    let told = story();
    cluster.kubectl_ok(&["delete", "node", OTHER, "--ignore-not-found"])?;
    told
}
