//! The arguments as words again: for people to read, in an order that is always the same.

use std::fmt;

use super::CreateArgs;
use super::values::{Mount, MountKind, Port, Transport};

impl CreateArgs {
    /// The words that parse into this value.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut flag = |name: &str, value: &str| words.push(format!("--{name}={value}"));
        self.lists(&mut flag);
        self.maps(&mut flag);
        self.single(&mut flag);
        for (name, on) in [
            ("init", self.init),
            ("no-healthcheck", self.no_healthcheck),
            ("privileged", self.privileged),
            ("read-only", self.read_only),
        ] {
            if on {
                words.push(format!("--{name}"));
            }
        }
        if !self.command.is_empty() {
            words.push("--".to_owned());
            words.extend(self.command.iter().cloned());
        }
        words
    }

    fn lists(&self, flag: &mut impl FnMut(&str, &str)) {
        for (name, values) in [
            ("env", &self.env),
            ("cap-add", &self.cap_add),
            ("cap-drop", &self.cap_drop),
            ("security-opt", &self.security_opt),
            ("group-add", &self.group_add),
            ("add-host", &self.add_host),
            ("dns", &self.dns),
            ("dns-search", &self.dns_search),
            ("dns-option", &self.dns_option),
        ] {
            for value in values {
                flag(name, value);
            }
        }
        self.mounts.iter().for_each(|mount| flag("volume", &volume(mount)));
        for tmpfs in &self.tmpfs {
            let options = if tmpfs.options.is_empty() { "" } else { ":" };
            flag("tmpfs", &format!("{}{options}{}", tmpfs.target, tmpfs.options));
        }
        for device in &self.devices {
            flag("device", &format!("{}:{}:{}", device.host, device.container, device.permissions));
        }
        self.ports.iter().for_each(|found| flag("publish", &port(found)));
        for ulimit in &self.ulimits {
            flag("ulimit", &format!("{}={}:{}", ulimit.name, ulimit.soft, ulimit.hard));
        }
    }

    fn maps(&self, flag: &mut impl FnMut(&str, &str)) {
        for (name, values) in
            [("label", &self.labels), ("sysctl", &self.sysctls), ("log-opt", &self.log_opts)]
        {
            for (key, value) in values {
                flag(name, &format!("{key}={value}"));
            }
        }
    }

    fn single(&self, flag: &mut impl FnMut(&str, &str)) {
        let shm_size = self.shm_size.map(|bytes| bytes.to_string());
        let stop_timeout = self.stop_timeout.map(|seconds| seconds.to_string());
        for (name, value) in [
            ("network", &self.network),
            ("pid", &self.pid),
            ("ipc", &self.ipc),
            ("uts", &self.uts),
            ("userns", &self.userns),
            ("cgroupns", &self.cgroupns),
            ("user", &self.user),
            ("workdir", &self.workdir),
            ("hostname", &self.hostname),
            ("entrypoint", &self.entrypoint),
            ("shm-size", &shm_size),
            ("stop-signal", &self.stop_signal),
            ("stop-timeout", &stop_timeout),
            ("log-driver", &self.log_driver),
        ] {
            if let Some(value) = value {
                flag(name, value);
            }
        }
    }
}

fn volume(mount: &Mount) -> String {
    let source = match &mount.kind {
        MountKind::Bind(path) => format!("{path}:"),
        MountKind::Volume(Some(name)) => format!("{name}:"),
        MountKind::Volume(None) => String::new(),
    };
    let options: Vec<&str> =
        mount.read_only.then_some("ro").into_iter().chain(mount.propagation.as_deref()).collect();
    let colon = if options.is_empty() { "" } else { ":" };
    format!("{source}{}{colon}{}", mount.target, options.join(","))
}

fn port(port: &Port) -> String {
    let address = match port.address {
        Some(address) if address.is_ipv6() => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
        None => String::new(),
    };
    let host = match port.host {
        Some(host) => format!("{host}:"),
        None if port.address.is_some() => ":".to_owned(),
        None => String::new(),
    };
    let transport = match port.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
    };
    format!("{address}{host}{}/{transport}", port.container)
}

impl fmt::Display for CreateArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only a null character has no quotes, and none was taken.
        let words = self.words();
        let text = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
        f.write_str(&text)
    }
}
