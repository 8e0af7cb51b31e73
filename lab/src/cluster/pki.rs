//! The control plane's keys: one authority, a certificate for each part, and the kubeconfigs that use them.
//!
//! Made by openssl, once: what is there is kept, since switches that joined hold certificates of this authority. The
//! API server's own certificate names the address it is reached at, and is made anew if that changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::site::{Port, Site};
use crate::command::{ok, step};

/// Ten years: a lab that is found again works.
const DAYS: &str = "3650";

/// Who has a certificate to speak to the API server with: file name, user, group (none: the user's rights come by
/// name from the API server's own defaults).
const CLIENTS: [(&str, &str, &str); 5] = [
    ("admin", "lab-admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    // With which the API server asks kubelets for logs and commands.
    ("kubelet-client", "lab-kubelet-client", "system:masters"),
    // With which switches may ask for a certificate of their own.
    ("switches", "switches", "system:bootstrappers:switchyard"),
];

/// Makes what is missing.
pub(super) fn prepare(site: &Site) -> Result<()> {
    if !site.path("pki/ca.crt").exists() {
        step("making the cluster's keys", || {
            // Keys are below this directory only.
            fs::set_permissions(site.path("pki"), fs::Permissions::from_mode(0o700))?;
            let authority = ["keyUsage=critical,digitalSignature,keyCertSign,cRLSign"];
            certificate(site, "ca", "/CN=switchyard-lab", &authority, None)
        })?;
    }
    for (name, user, group) in CLIENTS {
        let group = if group.is_empty() { String::new() } else { format!("/O={group}") };
        signed(site, name, &format!("{group}/CN={user}"), &["extendedKeyUsage=clientAuth"])?;
    }
    let names = format!(
        "subjectAltName=IP:{},IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc",
        site.address()
    );
    signed(site, &server_name(site), "/CN=kube-apiserver", &[&names, "extendedKeyUsage=serverAuth"])?;
    signed(site, "service-account", "/CN=service-accounts", &[])?;
    for (name, _, _) in CLIENTS {
        let text = kubeconfig(site, name).to_string();
        fs::write(site.path(&format!("pki/{name}.kubeconfig")), text).context("cannot write a kubeconfig")?;
    }
    Ok(())
}

/// The file name of the API server's certificate for the address it has now.
pub(super) fn server_name(site: &Site) -> String {
    format!("apiserver-{}", site.address())
}

/// The pin of the cluster's authority, as kubeadm writes it: the hash of its public key.
pub(super) fn ca_pin(site: &Site) -> Result<String> {
    let authority = site.text("pki/ca.crt");
    let script = "openssl x509 -pubkey -noout -in \"$0\" | openssl pkey -pubin -outform der | sha256sum";
    let sum = ok("sh", &["-c", script, &authority])?;
    let hash = sum.split_whitespace().next().context("sha256sum said nothing")?;
    Ok(format!("sha256:{hash}"))
}

/// A kubeconfig without credentials, as everybody may have it: where the server is and whom to trust.
pub(super) fn public_kubeconfig(site: &Site) -> Result<Value> {
    let authority = ok("base64", &["--wrap=0", &site.text("pki/ca.crt")])?;
    let cluster = json!({ "server": server(site), "certificate-authority-data": authority });
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "", "cluster": cluster }],
    }))
}

/// A kubeconfig that is complete in itself, for whoever has this token.
pub(super) fn token_kubeconfig(site: &Site, token: &str) -> Result<Value> {
    let mut config = public_kubeconfig(site)?;
    config["clusters"][0]["name"] = json!("lab");
    config["users"] = json!([{ "name": "token", "user": { "token": token } }]);
    config["contexts"] = json!([{ "name": "lab", "context": { "cluster": "lab", "user": "token" } }]);
    config["current-context"] = json!("lab");
    Ok(config)
}

/// The API server's address as clients write it.
pub(super) fn server(site: &Site) -> String {
    format!("https://{}:{}", site.address(), site.port(Port::ApiServer))
}

/// Makes a node's certificate, if it is missing, and gives its file's name.
pub(super) fn node(site: &Site, node: &str) -> Result<String> {
    let name = format!("node-{node}");
    signed(site, &name, &format!("/O=system:nodes/CN=system:node:{node}"), &["extendedKeyUsage=clientAuth"])?;
    Ok(name)
}

fn signed(site: &Site, name: &str, subject: &str, extensions: &[&str]) -> Result<()> {
    if site.path(&format!("pki/{name}.crt")).exists() {
        return Ok(());
    }
    let extensions = [extensions, &["basicConstraints=critical,CA:FALSE"]].concat();
    certificate(site, name, subject, &extensions, Some("ca"))
}

/// Makes a key and its certificate. The certificate is renamed into place last, and its being there says that both are.
fn certificate(
    site: &Site,
    name: &str,
    subject: &str,
    extensions: &[&str],
    signer: Option<&str>,
) -> Result<()> {
    let file = |name: &str, kind: &str| site.text(&format!("pki/{name}.{kind}"));
    let mut arguments: Vec<String> =
        ["req", "-x509", "-sha256", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            .iter()
            .map(ToString::to_string)
            .collect();
    let draft = file(name, "draft");
    arguments.extend(["-days", DAYS, "-subj", subject, "-keyout"].map(ToString::to_string));
    arguments.extend([file(name, "key"), "-out".to_owned(), draft.clone()]);
    for extension in extensions {
        arguments.extend(["-addext".to_owned(), (*extension).to_owned()]);
    }
    if let Some(signer) = signer {
        arguments.extend(["-CA".to_owned(), file(signer, "crt"), "-CAkey".to_owned(), file(signer, "key")]);
    }
    ok("openssl", &arguments)?;
    fs::rename(&draft, file(name, "crt")).with_context(|| format!("cannot install the certificate of {name}"))
}

fn kubeconfig(site: &Site, name: &str) -> Value {
    let cluster = json!({ "server": server(site), "certificate-authority": site.text("pki/ca.crt") });
    let user = json!({
        "client-certificate": site.text(&format!("pki/{name}.crt")),
        "client-key": site.text(&format!("pki/{name}.key")),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{ "name": "lab", "cluster": cluster }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": name } }],
    })
}
