//! Kubeconfigs: the kubelet's two, which we write, and the two facts that are read out of others'.
//!
//! Read is JSON, and YAML as Kubernetes' own programs write it: one `key: value` a line. There is no YAML reader here:
//! the text may be a stranger's, the wanted facts are two words without blanks, and what is found is checked by its form.

use std::path::Path;

use serde_json::Value;

use crate::address::ServerAddress;
use crate::token::Token;

/// The server that a kubeconfig names first.
pub(crate) fn server(text: &str) -> Option<ServerAddress> {
    ServerAddress::from_url(&field(text, "server")?).ok()
}

/// The first value of a key within the first cluster or user. Both forms quote or do not quote; neither folds.
pub(crate) fn field(text: &str, key: &str) -> Option<String> {
    match serde_json::from_str::<Value>(text) {
        Ok(config) => {
            let first = |list: &str, of: &str| config[list][0][of][key].as_str().map(ToOwned::to_owned);
            first("clusters", "cluster").or_else(|| first("users", "user"))
        }
        Err(_) => text.lines().find_map(|line| {
            let line = line.trim().trim_start_matches("- ").trim_start();
            let value = line.strip_prefix(key)?.strip_prefix(':')?.trim();
            Some(value.trim_matches(['"', '\'']).to_owned())
        }),
    }
}

/// What the kubelet shows of itself.
pub(crate) enum User<'a> {
    /// To be given a certificate.
    Token(&'a Token),
    /// The file with its certificate and key.
    Certificate(&'a Path),
}

/// A kubeconfig for the kubelet.
pub(crate) fn write(server: &ServerAddress, ca: &Path, user: &User<'_>) -> String {
    let user = match user {
        User::Token(token) => format!("    token: {}\n", token.reveal()),
        User::Certificate(file) => {
            format!("    client-certificate: {0}\n    client-key: {0}\n", file.display())
        }
    };
    format!(
        "# Written by switchyard.\n\
         apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: cluster\n\
         \x20 cluster:\n\
         \x20   server: {url}\n\
         \x20   certificate-authority: {ca}\n\
         users:\n\
         - name: node\n\
         \x20 user:\n\
         {user}\
         contexts:\n\
         - name: node\n\
         \x20 context:\n\
         \x20   cluster: cluster\n\
         \x20   user: node\n\
         current-context: node\n",
        url = server.url(),
        ca = ca.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kubelet writes it after it got its certificate.
    const KUBELETS: &str = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority: /etc/kubernetes/ca.crt\n    \
         server: https://[fd00::5]:6443\n  name: default-cluster\ncontexts: []\nkind: Config\nusers:\n- name: default-auth\n  \
         user:\n    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n";

    #[test]
    fn facts_are_found_in_yaml_and_json() {
        assert_eq!(server(KUBELETS).unwrap().to_string(), "[fd00::5]:6443");
        assert_eq!(
            field(KUBELETS, "client-certificate").unwrap(),
            "/var/lib/kubelet/pki/kubelet-client-current.pem"
        );
        let json = r#"{"clusters":[{"name":"","cluster":{"server":"https://kube:1","certificate-authority-data":"QQ=="}}]}"#;
        assert_eq!(server(json).unwrap().to_string(), "kube:1");
        assert_eq!(field(json, "certificate-authority-data").unwrap(), "QQ==");
        assert_eq!(field("- cluster:\n  server: 'https://kube'\n", "server").unwrap(), "https://kube");
    }

    #[test]
    fn what_is_no_kubeconfig_names_no_server() {
        for bad in
            ["", "server", "server: ftp://x", "{}", "[1]", "server: https://a b", "my-server: https://x"]
        {
            assert_eq!(server(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_we_write_reads_back() {
        let address = ServerAddress::new("fd00::5", 6443).unwrap();
        let file = Path::new("/var/lib/kubelet/pki/kubelet-client-current.pem");
        let text = write(&address, Path::new("/etc/kubernetes/ca.crt"), &User::Certificate(file));
        assert_eq!(server(&text), Some(address.clone()));
        assert_eq!(field(&text, "client-key").as_deref(), file.to_str());
        let token = Token::parse("abcdef.0123456789abcdef").unwrap();
        let text = write(&address, Path::new("/etc/kubernetes/ca.crt"), &User::Token(&token));
        assert_eq!(field(&text, "token").unwrap(), token.reveal());
    }
}
