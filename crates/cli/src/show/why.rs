//! `show kubernetes status`: on one page everything that decides whether a feature runs in a pod. Each answer is the
//! core's, asked with what is; who may not ask the engine gets it from the rows alone.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use switchyard_agent::{label_troubles, saved_credential};
use switchyard_core::{
    Answer, Asking, CurrentOwner, FeatureName, Knobs, Local, Pod, Reason, Refusal, RemoteState, SetOwner,
    Side, Version, View, Waiting, ask, start, wait,
};
use switchyard_host::{Host, HostError};
use switchyard_sonic::{Credentials, ServerConfig, ServerStatus, SonicError};

use super::cell;
use crate::KUBERNETES;
use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::rows::{self, Row};

#[derive(Serialize)]
struct Report {
    server: Server,
    connected: bool,
    since: Option<String>,
    reason: Option<String>,
    token: &'static str,
    client_certificate: String,
    ca_pin: Option<String>,
    node: Option<String>,
    /// Why labels are not on the node as they were given.
    label_troubles: BTreeMap<String, String>,
    features: Vec<Line>,
}

/// The configured server; what is wrong with its row, if something is.
#[derive(Serialize)]
struct Server {
    #[serde(flatten)]
    config: ServerConfig,
    error: Option<String>,
}

#[derive(Serialize)]
struct Line {
    name: String,
    state: String,
    set_owner: String,
    current_owner: String,
    remote_state: String,
    version: Option<String>,
    why: String,
}

pub(super) async fn main(format: Output) -> Result<ExitCode, CliError> {
    let mut host = Host::open(KUBERNETES)?;
    let credentials = Credentials::of(&host.paths);
    let server = server(host.switch.server_config())?;
    let status = host.switch.server_status()?;
    let (connected, since, reason) = connection(&server, status);
    let (features, code) = features(&mut host).await?;
    let report = Report {
        server,
        connected,
        since,
        reason,
        token: token(&credentials),
        client_certificate: client_certificate(),
        ca_pin: pin(&credentials),
        node: host.switch.node_name()?,
        label_troubles: label_troubles(&host.paths, &mut host.switch)?,
        features,
    };
    match format {
        Output::Json => output::json(&report),
        Output::Table | Output::Wide => print(&report, format == Output::Wide),
    }
    Ok(code)
}

/// A row that cannot be read is an answer here, not the end of it.
fn server(read: Result<ServerConfig, SonicError>) -> Result<Server, CliError> {
    match read {
        Ok(config) => Ok(Server { config, error: None }),
        Err(error @ SonicError::Row(_)) => {
            Ok(Server { config: ServerConfig::default(), error: Some(error.to_string()) })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether it is connected, since when, and why not. What is wrong with the configuration comes first: whatever was
/// tried before it is no longer what hinders.
fn connection(server: &Server, status: Option<ServerStatus>) -> (bool, Option<String>, Option<String>) {
    let status = status.unwrap_or_default();
    let reason = match (&server.error, &server.config) {
        (Some(error), _) => Some(error.clone()),
        (None, config) if config.ip.is_none() && status.static_pods => {
            Some("no server is configured, and the kubelet runs static pods".to_owned())
        }
        (None, config) if config.ip.is_none() => {
            Some("no server is configured; see: switchyard config kubernetes server ip --help".to_owned())
        }
        (None, config) if config.disable => Some(
            "the server is disabled; to join it: switchyard config kubernetes server disable off".to_owned(),
        ),
        _ if status.connected => None,
        _ => status.reason.or_else(|| {
            let agent = "it has not been tried since the boot; see: systemctl status ctrmgrd";
            Some(agent.to_owned()).filter(|_| status.update_time.is_none())
        }),
    };
    (status.connected, status.update_time, reason)
}

fn token(credentials: &Credentials) -> &'static str {
    match credentials.token() {
        Ok(Some(_)) => "present",
        Ok(None) => "absent",
        Err(SonicError::FileBroken { .. }) => "broken",
        Err(_) => "only root can see it",
    }
}

/// Whom the client certificate names, with which a node's own is asked for.
fn client_certificate() -> String {
    match saved_credential().certificate() {
        Ok(Some(certificate)) => match certificate.check(SystemTime::now()) {
            Ok(()) => certificate.name().to_owned(),
            Err(_) => format!("{}, expired", certificate.name()),
        },
        Ok(None) => "absent".to_owned(),
        Err(_) if !rustix::process::geteuid().is_root() => "only root can see it".to_owned(),
        Err(_) => "broken".to_owned(),
    }
}

fn pin(credentials: &Credentials) -> Option<String> {
    match credentials.ca_pin() {
        Ok(pin) => pin.map(|pin| pin.to_string()),
        Err(SonicError::FileBroken { .. }) => Some("broken".to_owned()),
        Err(_) => Some("only root can see it".to_owned()),
    }
}

async fn features(host: &mut Host) -> Result<(Vec<Line>, ExitCode), CliError> {
    let knobs = host.knobs();
    let read = rows::read(host)?;
    let server_answers = host.switch.pods_can_come()?;
    let mut lines = Vec::new();
    let mut engine_answers = true;
    for row in read.rows {
        if row.instance.feature.is_database() {
            continue;
        }
        let seen = if engine_answers { Some(host.view(&row.instance).await) } else { None };
        let view = match seen {
            None => recorded(row, server_answers),
            Some(Ok(view)) => view,
            Some(Err(HostError::Engine(error))) => {
                // Once is enough to wait for one that hangs.
                engine_answers = false;
                output::tell(&format!("{error}; what follows is told from the rows alone"));
                recorded(row, server_answers)
            }
            Some(Err(error)) => return Err(error.into()),
        };
        let local_version = host.switch.local_version(&view.instance)?;
        let mut line = line(&view, local_version.as_ref(), &knobs);
        if view.wanted() == SetOwner::Kube
            && let Some(trouble) = host.switch.pod_trouble(&line.name)?
        {
            line.why = format!("{}; its pod cannot start: {trouble}", line.why);
        }
        lines.push(line);
    }
    lines.extend(host.switch.feature_keys()?.strange.into_iter().filter_map(strange));
    Ok((lines, read.code))
}

/// A row whose key names no feature: nobody runs it, wherever its owner is.
fn strange(key: String) -> Option<Line> {
    let why = format!("left alone: {}", FeatureName::parse(&key).err()?);
    let nothing = || "-".to_owned();
    Some(Line {
        name: key,
        state: nothing(),
        set_owner: nothing(),
        current_owner: nothing(),
        remote_state: nothing(),
        version: None,
        why,
    })
}

/// What is, as far as the rows tell.
fn recorded(Row { instance, config, state }: Row, server_answers: bool) -> View {
    let is_pods = state.current_owner == CurrentOwner::Kube;
    let asks = matches!(state.remote_state, RemoteState::Pending | RemoteState::Ready);
    let id = if is_pods { state.container_id.clone() } else { state.remote_container_id.clone() };
    View {
        kubernetes: KUBERNETES,
        server_answers,
        local: if state.current_owner == CurrentOwner::Local { Local::Running } else { Local::Stopped },
        pods: id.filter(|_| is_pods || asks).map(|id| Pod { id }).into_iter().collect(),
        asker_version: None,
        verdict: switchyard_core::Verdict::Welcome,
        instance,
        config,
        row: state,
    }
}

fn line(view: &View, local_version: Option<&Version>, knobs: &Knobs) -> Line {
    Line {
        name: view.instance.container_name(),
        state: view.config.state.to_string(),
        set_owner: view.config.set_owner.to_string(),
        current_owner: view.row.current_owner.to_string(),
        remote_state: view.row.remote_state.to_string(),
        version: view.row.container_version.as_ref().map(ToString::to_string),
        why: why(view, local_version, knobs),
    }
}

/// Why this feature is, or is not, run by Kubernetes.
fn why(view: &View, local_version: Option<&Version>, knobs: &Knobs) -> String {
    let feature = &view.instance.feature;
    if view.wanted() == SetOwner::Local {
        return format!("owner is local; to change it: config feature owner {feature} kube");
    }
    if !view.config.state.is_enabled() {
        return format!(
            "state is {}; to change it: config feature state {feature} enabled",
            view.config.state
        );
    }
    if view.row.current_owner == CurrentOwner::Kube {
        return running(&wait(view, Duration::ZERO, knobs));
    }
    if let Some(kept_out) = view.verdict.reason().filter(|_| view.row.remote_state == RemoteState::Pending) {
        return kept_out.to_string();
    }
    if let Some(Reason::SameAsLocal) = told_at_the_gate(view, local_version) {
        return Reason::SameAsLocal.to_string();
    }
    if view.local == Local::Running {
        return match start(view) {
            Ok(plan) => plan.reason.to_string(),
            Err(Refusal::NoContainer(name)) => format!("there is no container {name}"),
        };
    }
    running(&wait(view, Duration::ZERO, knobs))
}

/// What the pod that has asked is told inside its image, where it waits for its turn.
fn told_at_the_gate(view: &View, local_version: Option<&Version>) -> Option<Reason> {
    let asking = Asking {
        instance: &view.instance,
        side: Side::Kube,
        version: view.row.container_version.as_ref()?,
        id: view.row.remote_container_id.as_ref(),
        has_asked: true,
        configured: true,
        config: Some(&view.config),
        row: &view.row,
        local_version,
    };
    match ask(&asking) {
        Answer::Wait(reason) if view.row.remote_state == RemoteState::Pending => Some(reason),
        Answer::Run(_) | Answer::RecordAndRun(..) | Answer::Ask(..) | Answer::Wait(_) => None,
    }
}

fn running(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Watch(switchyard_core::Copy::Pod(id), _) => {
            format!("the pod's container {} runs", id.short())
        }
        Waiting::Watch(switchyard_core::Copy::Local, _) => "the local image runs".to_owned(),
        Waiting::Await(_, reason) | Waiting::Write(_, reason) | Waiting::Over(_, reason) => {
            reason.to_string()
        }
    }
}

fn print(report: &Report, wide: bool) {
    let label = |(name, why): (&String, &String)| ("Label", format!("{name}: {why}"));
    for (name, value) in facts(report).into_iter().chain(report.label_troubles.iter().map(label)) {
        output::line(&format!("{:<10} {}", format!("{name}:"), cell(&value)));
    }
    output::line("");
    let mut header = vec!["Feature", "SetOwner", "CurrentOwner", "RemoteState", "Version", "Why"];
    if wide {
        header.insert(1, "State");
    }
    let row = |line: &Line| {
        let version = line.version.clone().unwrap_or_default();
        let mut row =
            [&line.name, &line.set_owner, &line.current_owner, &line.remote_state, &version, &line.why]
                .map(Clone::clone)
                .to_vec();
        if wide {
            row.insert(1, line.state.clone());
        }
        row
    };
    output::table(&header, &report.features.iter().map(row).collect::<Vec<_>>());
}

fn facts(report: &Report) -> [(&'static str, String); 6] {
    let config = &report.server.config;
    let server = match (&report.server.error, &config.ip) {
        (Some(_), _) => "cannot be told".to_owned(),
        (None, None) => "none".to_owned(),
        (None, Some(ip)) => {
            let secure = if config.insecure { ", not verified (insecure)" } else { "" };
            let disabled = if config.disable { ", disabled" } else { "" };
            format!("{}{secure}{disabled}", ip.with_port(config.port))
        }
    };
    let since = report.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
    let reason = report.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let connected = if report.connected { "yes" } else { "no" };
    let none = || "none".to_owned();
    [
        ("Server", server),
        ("Connected", format!("{connected}{since}{reason}")),
        ("Token", report.token.to_owned()),
        ("Client certificate", report.client_certificate.clone()),
        ("CA pin", report.ca_pin.clone().unwrap_or_else(none)),
        ("Node", report.node.clone().unwrap_or_else(none)),
    ]
}

#[cfg(test)]
mod tests {
    use switchyard_core::{
        Admin, ContainerId, FeatureConfig, FeatureName, FeatureState, Instance, SystemState, Verdict,
    };
    use switchyard_sonic::ServerHost;

    use super::*;

    fn row(change: impl FnOnce(&mut FeatureConfig, &mut FeatureState)) -> View {
        let mut config =
            FeatureConfig { state: Admin::Enabled, set_owner: SetOwner::Kube, ..FeatureConfig::default() };
        let mut state = FeatureState { system_state: Some(SystemState::Up), ..FeatureState::default() };
        change(&mut config, &mut state);
        let instance = Instance::on_host(FeatureName::parse("snmp").unwrap());
        recorded(Row { instance, config, state }, true)
    }

    fn why_of(view: &View) -> String {
        why(view, Version::parse("1").ok().as_ref(), &Knobs::default())
    }

    #[test]
    fn each_reason_not_to_be_on_kube_is_told() {
        let id = ContainerId::parse("41d3a4bcdcc1").unwrap();
        let local = |state: &mut FeatureState| state.current_owner = CurrentOwner::Local;
        let asks = |state: &mut FeatureState| {
            state.remote_state = RemoteState::Pending;
            state.remote_container_id = Some(id.clone());
            state.container_version = Version::parse("2").ok();
        };
        let cases = [
            (row(|config, _| config.set_owner = SetOwner::Local), "owner is local; to change it"),
            (row(|config, _| config.state = Admin::Disabled), "state is disabled; to change it"),
            (row(|_, state| local(state)), "no pod has asked yet"),
            (View { server_answers: false, ..row(|_, state| local(state)) }, "the server does not answer"),
            (
                View {
                    verdict: Verdict::Held,
                    ..row(|_, state| {
                        local(state);
                        asks(state);
                    })
                },
                "waits for system service accept",
            ),
            (
                row(|_, state| {
                    local(state);
                    asks(state);
                    state.container_version = Version::parse("1").ok();
                }),
                "the local image has the same version",
            ),
            (row(|_, _| ()), "a pod is waited for"),
            (
                row(|_, state| {
                    state.current_owner = CurrentOwner::Kube;
                    state.container_id = Some(id.clone());
                    state.remote_state = RemoteState::Running;
                }),
                "the pod's container 41d3a4bcdcc1 runs",
            ),
        ];
        for (view, wanted) in cases {
            let said = why_of(&view);
            assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
        }
    }

    #[test]
    fn why_it_is_not_connected_is_told_the_nearest_first() {
        let host = ServerHost::parse("10.0.0.5").ok();
        let with = |config: ServerConfig| Server { config, error: None };
        let refused = ServerStatus {
            update_time: Some("2026-08-01 10:00:00".to_owned()),
            reason: Some("the token is refused".to_owned()),
            ..ServerStatus::default()
        };
        let said =
            |server: &Server, status: Option<ServerStatus>| connection(server, status).2.unwrap_or_default();
        let configured = || ServerConfig { ip: host.clone(), ..ServerConfig::default() };
        assert!(said(&with(ServerConfig::default()), None).starts_with("no server is configured"));
        let disabled = with(ServerConfig { disable: true, ..configured() });
        assert!(said(&disabled, Some(refused.clone())).starts_with("the server is disabled"));
        assert!(said(&with(configured()), None).starts_with("it has not been tried since the boot"));
        assert_eq!(
            connection(&with(configured()), Some(refused.clone())),
            (false, refused.update_time.clone(), refused.reason.clone())
        );
        let connected = ServerStatus { connected: true, ..refused.clone() };
        assert_eq!(
            connection(&with(configured()), Some(connected)),
            (true, refused.update_time.clone(), None)
        );
        let garbage = Server { config: ServerConfig::default(), error: Some("garbage".to_owned()) };
        assert_eq!(said(&garbage, Some(refused)), "garbage");
    }
}
