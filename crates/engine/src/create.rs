//! Containers that are made here rather than by a control script: third-party ones.
//!
//! What `--args` said is handed on as typed values; name, restarts, limits and the mounts of tpcm come from the caller.

use std::collections::HashMap;

use bollard::container::LogOutput;
use bollard::errors::Error as Bollard;
use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, PortBinding, ResourcesUlimits,
};
use bollard::query_parameters::{CreateContainerOptions, LogsOptions};
use futures_util::StreamExt;
use switchyard_core::tpc::{CreateArgs, Transport};
use switchyard_core::{ContainerId, ImageId};

use crate::{Engine, EngineError};

/// So many lines tell why a container ended.
const LAST_LINES: &str = "3";

/// A container to be.
#[derive(Debug, Clone)]
pub struct NewContainer {
    /// What it is made from.
    pub image: ImageId,
    /// What `--args` said, but for its mounts.
    pub args: CreateArgs,
    /// Each a host path, a path inside and options, in the engine's own form `host:inside:options`.
    pub binds: Vec<String>,
    /// Labels besides those of `args`, and before them.
    pub labels: HashMap<String, String>,
    /// Billionths of one processor.
    pub nano_cpus: i64,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// The group that its own is made in.
    pub cgroup_parent: String,
    /// The command that stands in for one that the image does not have.
    pub command: Option<Vec<String>>,
}

impl Engine {
    /// Makes a container, which does not run yet.
    pub async fn create(&self, name: &str, new: NewContainer) -> Result<ContainerId, EngineError> {
        let options =
            CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
        let image = new.image.to_string();
        let made = match self.docker.create_container(Some(options), body(new)).await {
            Err(Bollard::DockerResponseServerError { status_code: 404, message })
                if message.contains("No such image") =>
            {
                return Err(EngineError::NoSuchImage(image));
            }
            Err(Bollard::DockerResponseServerError { status_code: 409, .. }) => {
                return Err(EngineError::NameTaken(name.to_owned()));
            }
            made => made.map_err(|error| self.error(name, error))?,
        };
        ContainerId::parse(&made.id).map_err(|error| EngineError::Refused {
            container: name.to_owned(),
            message: format!("it answered with no container id: {error}"),
        })
    }

    /// The last lines that a container said, in one line.
    pub async fn last_words(&self, container: &str) -> Result<String, EngineError> {
        let options =
            LogsOptions { stdout: true, stderr: true, tail: LAST_LINES.to_owned(), ..LogsOptions::default() };
        let mut lines = std::pin::pin!(self.docker.logs(container, Some(options)));
        let mut words = String::new();
        while let Some(line) = lines.next().await {
            let line: LogOutput = line.map_err(|error| self.error(container, error))?;
            words.push_str(&line.to_string());
            words.push(' ');
        }
        Ok(one_line(&words))
    }
}

/// It is printed, and a container must not be able to move the cursor with it.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().map(|word| word.chars().filter(|c| !c.is_control()).collect());
    words.collect::<Vec<String>>().join(" ")
}

/// What is empty is left to the image.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn body(new: NewContainer) -> ContainerCreateBody {
    let host = host_config(&new);
    let NewContainer { image, args, labels: own, command, .. } = new;
    // Ours last: by them it is told whose the container is.
    let labels = args.labels.into_iter().chain(own).collect();
    let entrypoint =
        args.entrypoint.map(|entry| if entry.is_empty() { vec![String::new()] } else { vec![entry] });
    let healthcheck = args
        .no_healthcheck
        .then(|| HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() });
    let ports = args.ports.iter().map(|port| inside(port.container, port.transport)).collect();
    ContainerCreateBody {
        image: Some(image.to_string()),
        hostname: args.hostname,
        user: args.user,
        env: some(args.env),
        cmd: some(args.command).or(command),
        entrypoint,
        healthcheck,
        working_dir: args.workdir,
        labels: Some(labels),
        stop_signal: args.stop_signal,
        stop_timeout: args.stop_timeout.map(i64::from),
        exposed_ports: some(ports),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn host_config(new: &NewContainer) -> HostConfig {
    let args = new.args.clone();
    let memory = new.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let devices = args.devices.into_iter().map(|device| DeviceMapping {
        path_on_host: Some(device.host),
        path_in_container: Some(device.container),
        cgroup_permissions: Some(device.permissions),
    });
    let ulimits = args.ulimits.into_iter().map(|limit| ResourcesUlimits {
        name: Some(limit.name),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    });
    let mut ports: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &args.ports {
        let binding = PortBinding {
            host_ip: port.address.map(|address| address.to_string()),
            host_port: Some(port.host.map(|port| port.to_string()).unwrap_or_default()),
        };
        let inside = inside(port.container, port.transport);
        ports.entry(inside).or_default().get_or_insert_default().push(binding);
    }
    let log = args.log_driver.or_else(|| (!args.log_opts.is_empty()).then(|| "json-file".to_owned()));
    HostConfig {
        binds: some(new.binds.clone()),
        network_mode: Some(args.network.unwrap_or_else(|| "host".to_owned())),
        port_bindings: (!ports.is_empty()).then_some(ports),
        nano_cpus: Some(new.nano_cpus),
        memory,
        // As much again of swap would make the limit mean nothing.
        memory_swap: memory,
        cgroup_parent: Some(new.cgroup_parent.clone()),
        devices: some(devices.collect()),
        ulimits: some(ulimits.collect()),
        cap_add: some(args.cap_add),
        cap_drop: some(args.cap_drop),
        privileged: Some(args.privileged),
        security_opt: some(args.security_opt),
        sysctls: (!args.sysctls.is_empty()).then(|| args.sysctls.into_iter().collect()),
        group_add: some(args.group_add),
        pid_mode: args.pid,
        ipc_mode: args.ipc,
        uts_mode: args.uts,
        userns_mode: args.userns,
        cgroupns_mode: args.cgroupns.map(|mode| match mode.as_str() {
            "host" => HostConfigCgroupnsModeEnum::HOST,
            _ => HostConfigCgroupnsModeEnum::PRIVATE,
        }),
        extra_hosts: some(args.add_host),
        dns: some(args.dns),
        dns_search: some(args.dns_search),
        dns_options: some(args.dns_option),
        init: args.init.then_some(true),
        readonly_rootfs: Some(args.read_only),
        shm_size: args.shm_size.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        tmpfs: Some(args.tmpfs.into_iter().map(|tmpfs| (tmpfs.target, tmpfs.options)).collect()),
        log_config: log.map(|driver| HostConfigLogConfig {
            typ: Some(driver),
            config: Some(args.log_opts.into_iter().collect()),
        }),
        ..HostConfig::default()
    }
}

fn inside(port: u16, transport: Transport) -> String {
    let transport = match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
    };
    format!("{port}/{transport}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(args: &str) -> ContainerCreateBody {
        body(NewContainer {
            image: ImageId::parse(&format!("sha256:{}", "a".repeat(64))).unwrap(),
            args: CreateArgs::parse(args).unwrap(),
            binds: vec!["/host/tpc/web:/tpc".to_owned()],
            labels: HashMap::from([("ours".to_owned(), "web".to_owned())]),
            nano_cpus: 400_000_000,
            memory: Some(64 << 20),
            cgroup_parent: "/tpc".to_owned(),
            command: None,
        })
    }

    #[test]
    fn without_arguments_the_image_decides_and_the_network_is_the_hosts() {
        let body = made("");
        assert_eq!((&body.cmd, &body.entrypoint, &body.user), (&None, &None, &None));
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("host"));
        assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
        assert_eq!(host.restart_policy, None, "systemd restarts it");
    }

    #[test]
    fn what_a_container_said_last_is_one_line_that_moves_no_cursor() {
        assert_eq!(
            one_line("no\tport \u{1b}[2J\u{1b}]0;x\u{7}\r\n\u{9b}1A ended \n"),
            "no port [2J]0;x 1A ended"
        );
    }

    #[test]
    fn what_was_said_arrives() {
        let body = made(
            "-e A=b --label x=y --label ours=theirs --cap-add NET_ADMIN --network none --stop-timeout 7 -- sleep 5",
        );
        assert_eq!(body.env.unwrap(), ["A=b"]);
        assert_eq!(body.cmd.unwrap(), ["sleep", "5"]);
        assert_eq!(body.stop_timeout, Some(7));
        let labels = body.labels.unwrap();
        assert_eq!((labels["x"].as_str(), labels["ours"].as_str()), ("y", "web"));
        let host = body.host_config.unwrap();
        assert_eq!(host.cap_add.unwrap(), ["NET_ADMIN"]);
        assert_eq!(host.network_mode.as_deref(), Some("none"));
    }
}
