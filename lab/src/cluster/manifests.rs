//! Gives a fresh control plane what a real cluster needs for us: `packaging/cluster`, a token, and cluster-info.
//!
//! The first is the very directory that we ship, and the token is its example with other letters, so that the lab
//! fails when they do not work.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::pki;
use super::{Cluster, Site};
use crate::command::ok;
use crate::machine::workspace;

/// The letters of the token in the example.
const EXAMPLE_ID: &str = "abcdef";
const EXAMPLE_SECRET: &str = "0123456789abcdef";

/// Applies everything; what is there already stays as it is.
pub(super) fn apply(cluster: &Cluster) -> Result<()> {
    let shipped = workspace().join("packaging/cluster");
    cluster.kubectl_ok(&["apply", "--filename", &shipped.to_string_lossy()])?;
    cluster.apply(&cluster_info(&cluster.site)?)?;
    let example = fs::read_to_string(shipped.join("examples/token.yaml")).context("no example of a token")?;
    cluster.apply(&with_token(&example, &token(&cluster.site)?)?)
}

/// The token of this cluster, made when it is first asked for.
pub(super) fn token(site: &Site) -> Result<String> {
    let path = site.path("pki/token");
    if let Ok(token) = fs::read_to_string(&path) {
        return Ok(token);
    }
    let letters = ok("openssl", &["rand", "-hex", "11"])?;
    ensure!(letters.len() == 22, "openssl gave no 22 letters: {letters:?}");
    let (id, secret) = letters.split_at(6);
    let token = format!("{id}.{secret}");
    site.write_secret("pki/token", &token)?;
    Ok(token)
}

fn cluster_info(site: &Site) -> Result<String> {
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "cluster-info", "namespace": "kube-public" },
        "data": { "kubeconfig": pki::public_kubeconfig(site)?.to_string() },
    })
    .to_string())
}

fn with_token(example: &str, token: &str) -> Result<String> {
    let (id, secret) = token.split_once('.').context("a token has two parts")?;
    ensure!(
        example.contains(EXAMPLE_ID) && example.contains(EXAMPLE_SECRET),
        "the example of a token has other letters than the lab knows"
    );
    // The secret of the example ends with its id, and ours may contain anything: each is replaced out of the other's way.
    let aside = "\0";
    Ok(example.replace(EXAMPLE_SECRET, aside).replace(EXAMPLE_ID, id).replace(aside, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_example_becomes_a_token_of_its_own() {
        let example = include_str!("../../../packaging/cluster/examples/token.yaml");
        let secret = with_token(example, "q1w2e3.zyabcdefqponmlkj").unwrap();
        assert!(secret.contains("name: bootstrap-token-q1w2e3\n"), "{secret}");
        // In quotes, since 123456 is a token's id as well.
        assert!(secret.contains("token-id: \"q1w2e3\"\n"), "{secret}");
        assert!(secret.contains("token-secret: \"zyabcdefqponmlkj\"\n"), "{secret}");
    }
}
