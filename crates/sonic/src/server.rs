//! The Kubernetes server in rows: what is configured (SONIC.md 2.2) and how it goes (2.6), read by meaning whoever wrote
//! it, and which name this switch has there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::labels::{NAME_MAX, is_subdomain};
use crate::rows::boolean_of;
use crate::switch::{CONFIG, SERVER_KEY, SERVER_TABLE, STATE};
use crate::{Fields, RowError, SonicError, Switch};

const ROW: &str = "KUBERNETES_MASTER|SERVER";
/// STATE_DB, ours alone: why pods cannot start, a field for each name of a container.
const PODS_TABLE: &str = "KUBE_PODS";
const PODS_KEY: &str = "TROUBLE";
const PORT: &str = "a number from 1 to 65535";

/// The port that counts where none is configured.
pub const SERVER_PORT: u16 = 6443;

/// Where a server is: an IPv4 or IPv6 address or a DNS name, and nothing else, since it becomes part of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ServerHost(String);

/// Why a text is no server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid server address {0:?}: it must be an IPv4 address, an IPv6 address or a DNS name")]
pub struct BadHost(String);

/// Why a text is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid port value {}: it must be {PORT}", .0.escape_debug())]
pub struct BadPort(String);

impl ServerHost {
    /// Takes an address without brackets, port, zone or scheme.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let is_one_place = |ip: IpAddr| !ip.is_unspecified() && !ip.is_multicast();
        if text.parse().map_or_else(|_| is_dns_name(text), is_one_place) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadHost(text.chars().take(NAME_MAX).collect()))
        }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address with its port, as it stands in a URL.
    pub fn with_port(&self, port: u16) -> String {
        if self.0.contains(':') { format!("[{}]:{port}", self.0) } else { format!("{}:{port}", self.0) }
    }
}

impl fmt::Display for ServerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name whose last part is a number was meant as an IPv4 address.
fn is_dns_name(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    is_subdomain(&text.to_ascii_lowercase()) && !last.chars().all(|c| c.is_ascii_digit())
}

/// A port from its text.
pub fn parse_port(text: &str) -> Result<u16, BadPort> {
    let port = text.parse().ok().filter(|port| *port > 0 && text.chars().all(|c| c.is_ascii_digit()));
    port.ok_or_else(|| BadPort(text.chars().take(NAME_MAX).collect()))
}

/// CONFIG_DB `KUBERNETES_MASTER|SERVER`: which server the switch is to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerConfig {
    /// Where it is; none if nobody has said.
    pub ip: Option<ServerHost>,
    /// On which port.
    pub port: u16,
    /// Is it not verified? No secret is sent then.
    pub insecure: bool,
    /// Is it not to be joined although it is configured?
    pub disable: bool,
}

impl Default for ServerConfig {
    /// What missing fields mean. SONiC's `config` fills in `insecure` "True" where its daemon and its YANG model take
    /// "false"; the secure one counts.
    fn default() -> Self {
        Self { ip: None, port: SERVER_PORT, insecure: false, disable: false }
    }
}

impl ServerConfig {
    /// The server that is to be joined, if one is.
    pub fn wanted(&self) -> Option<&ServerHost> {
        self.ip.as_ref().filter(|_| !self.disable)
    }
}

/// The field of STATE_DB that says that the kubelet runs static pods.
pub(crate) const STATIC_PODS: &str = "static_pods";

/// STATE_DB `KUBERNETES_MASTER|SERVER`: how it goes with the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServerStatus {
    /// The server that was tried last.
    pub ip: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Is this switch's node Ready, and does the server answer, now?
    pub connected: bool,
    /// Since when it is so, local time as SONiC writes it.
    pub update_time: Option<String>,
    /// One line why it is not connected. This field is ours; it never holds a secret.
    pub reason: Option<String>,
    /// Does the kubelet run static pods, without any server? This field is ours too.
    pub static_pods: bool,
}

/// The configuration, from its row.
pub fn parse_server_config(fields: &Fields) -> Result<ServerConfig, RowError> {
    let default = ServerConfig::default();
    let wrong = |field, allowed: &str| wrong("CONFIG_DB", fields, field, allowed);
    let ip = text(fields, "ip").map(ServerHost::parse).transpose();
    let port = text(fields, "port").map(parse_port).transpose();
    Ok(ServerConfig {
        ip: ip.map_err(|_| wrong("ip", "an IPv4 address, an IPv6 address or a DNS name"))?,
        port: port.map_err(|_| wrong("port", PORT))?.unwrap_or(default.port),
        insecure: boolean_of("CONFIG_DB", ROW, "insecure", fields.get("insecure").cloned())?,
        disable: boolean_of("CONFIG_DB", ROW, "disable", fields.get("disable").cloned())?,
    })
}

/// The status, from its row.
pub fn parse_server_status(fields: &Fields) -> Result<ServerStatus, RowError> {
    let port = text(fields, "port").map(parse_port).transpose();
    let owned = |field| text(fields, field).map(ToOwned::to_owned);
    Ok(ServerStatus {
        ip: owned("ip"),
        port: port.map_err(|_| wrong("STATE_DB", fields, "port", PORT))?,
        connected: boolean_of("STATE_DB", ROW, "connected", fields.get("connected").cloned())?,
        update_time: owned("update_time"),
        reason: owned("reason"),
        static_pods: boolean_of("STATE_DB", ROW, STATIC_PODS, fields.get(STATIC_PODS).cloned())?,
    })
}

fn text<'a>(fields: &'a Fields, field: &str) -> Option<&'a str> {
    fields.get(field).map(|text| text.trim_ascii()).filter(|text| !text.is_empty())
}

fn wrong(database: &'static str, fields: &Fields, field: &'static str, allowed: &str) -> RowError {
    RowError {
        database,
        asic: None,
        row: ROW.to_owned(),
        field,
        word: fields.get(field).cloned().unwrap_or_default(),
        allowed: allowed.to_owned(),
    }
}

impl Switch {
    /// Which server is configured; the defaults if none ever was.
    pub fn server_config(&mut self) -> Result<ServerConfig, SonicError> {
        Ok(parse_server_config(&self.raw_server_config()?)?)
    }

    /// The configuration's fields as they stand there.
    pub fn raw_server_config(&mut self) -> Result<Fields, SonicError> {
        Ok(self.db(None, CONFIG)?.row(SERVER_TABLE, SERVER_KEY)?.unwrap_or_default())
    }

    /// Configures one thing about the server, and the defaults of what was never configured beside it, as SONiC's
    /// `config kubernetes server` does. What is there already is not written again: false if that is all of it.
    pub fn set_server_field(&mut self, field: &str, value: &str) -> Result<bool, SonicError> {
        let present = self.raw_server_config()?;
        let defaults = [("ip", ""), ("port", "6443"), ("insecure", "False"), ("disable", "False")];
        let missing = defaults.into_iter().filter(|(name, _)| *name != field && !present.contains_key(*name));
        let changed = Some((field, value)).filter(|_| present.get(field).is_none_or(|is| is != value));
        let fields: Vec<_> = missing.chain(changed).collect();
        self.db(None, CONFIG)?.set(SERVER_TABLE, SERVER_KEY, &fields)?;
        Ok(!fields.is_empty())
    }

    /// Wakes whoever listens to the server's configuration, after something changed that stands elsewhere: a field is
    /// written again as it is. Nothing happens if there is none.
    pub fn announce_server(&mut self) -> Result<(), SonicError> {
        let fields = self.raw_server_config()?;
        match fields.iter().next() {
            Some((field, value)) => self.db(None, CONFIG)?.set(SERVER_TABLE, SERVER_KEY, &[(field, value)]),
            None => Ok(()),
        }
    }

    /// How it goes with the server; none if nobody has said since the boot.
    pub fn server_status(&mut self) -> Result<Option<ServerStatus>, SonicError> {
        let fields = self.raw_server_status()?;
        Ok(fields.map(|fields| parse_server_status(&fields)).transpose()?)
    }

    /// The status' fields as they stand there.
    pub fn raw_server_status(&mut self) -> Result<Option<Fields>, SonicError> {
        self.db(None, STATE)?.row(SERVER_TABLE, SERVER_KEY)
    }

    /// Says how it goes with the server, with the time of now, whatever time is given. A status that says the same
    /// keeps its time, and nobody is woken for it: then this is false.
    pub fn set_server_status(&mut self, status: &ServerStatus) -> Result<bool, SonicError> {
        let port = status.port.map(|port| port.to_string()).unwrap_or_default();
        let fields = [
            ("ip", status.ip.as_deref().unwrap_or_default()),
            ("port", port.as_str()),
            ("connected", if status.connected { "true" } else { "false" }),
            ("reason", status.reason.as_deref().unwrap_or_default()),
            (STATIC_PODS, if status.static_pods { "true" } else { "" }),
        ];
        let present = self.raw_server_status()?.unwrap_or_default();
        // A switch without static pods never has that field.
        let fields = fields.into_iter().filter(|(field, value)| {
            *field != STATIC_PODS || !value.is_empty() || present.contains_key(STATIC_PODS)
        });
        let fields: Vec<_> = fields.collect();
        let says = |(field, value): (&str, &str)| present.get(field).is_some_and(|is| is == value);
        if present.contains_key("update_time") && fields.iter().copied().all(says) {
            return Ok(false);
        }
        let now = crate::version::local_time();
        let stamped: Vec<_> = fields.into_iter().chain([("update_time", now.as_str())]).collect();
        self.db(None, STATE)?.set(SERVER_TABLE, SERVER_KEY, &stamped)?;
        Ok(true)
    }

    /// Why the pod of an instance cannot start, by the name of its container; nothing if nobody says so.
    pub fn pod_trouble(&mut self, container: &str) -> Result<Option<String>, SonicError> {
        self.db(None, STATE)?.field(PODS_TABLE, PODS_KEY, container)
    }

    /// Says why pods cannot start, each by the name of its container, and that no other is in trouble.
    pub fn set_pod_troubles(&mut self, troubles: &BTreeMap<String, String>) -> Result<(), SonicError> {
        let db = self.db(None, STATE)?;
        let present = db.row(PODS_TABLE, PODS_KEY)?.unwrap_or_default();
        let over: Vec<&str> =
            present.keys().filter(|name| !troubles.contains_key(*name)).map(String::as_str).collect();
        let new: Vec<_> = troubles
            .iter()
            .filter(|(name, why)| present.get(*name) != Some(*why))
            .map(|(name, why)| (name.as_str(), why.as_str()))
            .collect();
        db.set(PODS_TABLE, PODS_KEY, &new)?;
        if over.is_empty() { Ok(()) } else { db.delete_fields(PODS_TABLE, PODS_KEY, &over) }
    }

    /// One field of `DEVICE_METADATA|localhost`: `hwsku`, `type`, `platform`, ….
    pub fn metadata(&mut self, field: &str) -> Result<Option<String>, SonicError> {
        self.db(None, CONFIG)?.field("DEVICE_METADATA", "localhost", field)
    }

    /// What the cluster calls this switch: its host name in lower case (SONIC.md 5.6). None before it has one.
    pub fn node_name(&mut self) -> Result<Option<String>, SonicError> {
        let name = self.metadata("hostname")?;
        Ok(name.map(|name| name.trim_ascii().to_ascii_lowercase()).filter(|name| !name.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn addresses_and_dns_names_are_servers() {
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        for text in
            ["10.0.0.5", "fd00::5", "::1", "k8s", "K8s-1.example.com", "3com.net", "xn--bcher-kva.de", &long]
        {
            assert_eq!(ServerHost::parse(text).map(|host| host.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(ServerHost::parse("10.0.0.5").unwrap().with_port(6443), "10.0.0.5:6443");
        assert_eq!(ServerHost::parse("fd00::5").unwrap().with_port(1), "[fd00::5]:1");
    }

    #[test]
    fn anything_else_is_no_server() {
        let label = "a".repeat(64);
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
        for text in [
            "",
            " ",
            "10.0.0",
            "10.0.0.256",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "10.0.0.5:6443",
            "10.0.0.5/24",
            "[fd00::5]",
            "fd00::5%eth0",
            "fd00:::5",
            "https://k8s",
            "k8s/api",
            "user@k8s",
            "k8s.",
            ".k8s",
            "a..b",
            "-k8s",
            "k8s-",
            "k_8s",
            "k8s ",
            "k8s\n",
            "bücher.de",
            "$(reboot)",
            "1234",
            &label,
            &long,
        ] {
            assert!(ServerHost::parse(text).is_err(), "{text:?} was taken");
        }
        let said = ServerHost::parse("x\ny").unwrap_err().to_string();
        assert_eq!(
            said,
            r#"Invalid server address "x\ny": it must be an IPv4 address, an IPv6 address or a DNS name"#
        );
    }

    /// SONIC.md 12.2: an invalid port ended in a traceback.
    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        for (text, port) in [("1", 1), ("6443", 6443), ("65535", 65535), ("0080", 80)] {
            assert_eq!(parse_port(text), Ok(port));
        }
        for text in ["", "0", "65536", "-1", "+1", "1.0", "6443 ", "x", "99999999999999999999", "٣"] {
            assert!(parse_port(text).is_err(), "{text:?} was taken");
        }
        let said = parse_port("65536").unwrap_err().to_string();
        assert_eq!(said, "Invalid port value 65536: it must be a number from 1 to 65535");
    }

    /// BI#28051: an `insecure` of "false" counted as true.
    #[test]
    fn a_configuration_is_read_by_its_meaning() {
        let read = |pairs: &[(&str, &str)]| parse_server_config(&fields(pairs));
        assert_eq!(read(&[]), Ok(ServerConfig::default()));
        let written_by_config =
            [("ip", "10.0.0.5"), ("port", "6443"), ("insecure", "True"), ("disable", "False")];
        let wanted =
            ServerConfig { ip: ServerHost::parse("10.0.0.5").ok(), insecure: true, ..Default::default() };
        assert_eq!(read(&written_by_config), Ok(wanted.clone()));
        assert_eq!(read(&[("ip", " 10.0.0.5 "), ("insecure", "true")]), Ok(wanted.clone()));
        assert_eq!(wanted.wanted(), wanted.ip.as_ref());
        assert_eq!(read(&[("ip", "10.0.0.5"), ("disable", "TRUE")]).unwrap().wanted(), None);
        assert_eq!(read(&[("ip", ""), ("port", "")]), Ok(ServerConfig::default()));
    }

    #[test]
    fn garbage_in_a_row_is_named_with_the_command_that_mends_it() {
        for (field, word) in [("ip", "http://x"), ("port", "70000"), ("insecure", "maybe"), ("disable", "x")]
        {
            let error = parse_server_config(&fields(&[(field, word)])).unwrap_err();
            assert_eq!((error.field, error.word.as_str()), (field, word));
            assert_eq!(error.mend(), format!("sonic-db-cli CONFIG_DB HDEL '{ROW}' {field}"));
        }
    }

    #[test]
    fn a_status_that_only_sonic_wrote_has_no_reason() {
        let row = [
            ("ip", "10.0.0.5"),
            ("port", "6443"),
            ("connected", "true"),
            ("update_time", "2026-08-01 10:00:00"),
        ];
        let status = ServerStatus {
            ip: Some("10.0.0.5".into()),
            port: Some(6443),
            connected: true,
            update_time: Some("2026-08-01 10:00:00".into()),
            reason: None,
            static_pods: false,
        };
        assert_eq!(parse_server_status(&fields(&row)), Ok(status));
        assert_eq!(parse_server_status(&fields(&[])), Ok(ServerStatus::default()));
    }
}
