//! What is decided, in words short enough to stand in a table.

use switchyard_core::{
    AgentStep, Answer, ContainerId, Copy, CurrentOwner, Plan, RemoteState, RowChange, Step, SystemState,
    Waiting,
};

pub(crate) fn plan(plan: &Plan) -> String {
    let steps: Vec<_> = plan.steps.iter().map(step).collect();
    format!("{}: {}", plan.reason.word(), steps.join(", "))
}

fn step(step: &Step) -> String {
    match step {
        Step::Label(wanted) => format!("label {wanted}"),
        Step::Row(change) => row(change),
        Step::AwaitRow(at_most) => format!("await row {} ms", at_most.as_millis()),
        Step::StartLocal => "start local".to_owned(),
        Step::Stop(copy) => format!("stop {}", name(copy)),
        Step::Kill(copy) => format!("kill {}", name(copy)),
    }
}

pub(crate) fn waiting(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Watch(copy, None) => format!("watch {}", name(copy)),
        Waiting::Watch(copy, Some(repair)) => format!("watch {}, {}", name(copy), row(repair)),
        Waiting::Write(change, reason) => format!("{}: {}", reason.word(), row(change)),
        Waiting::Await(None, reason) => format!("{}: wait", reason.word()),
        Waiting::Await(Some(left), reason) => format!("{}: wait {} s", reason.word(), left.as_secs()),
        Waiting::Over(change, reason) => format!("{}: {}, over", reason.word(), row(change)),
    }
}

pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Run(reason) => format!("{}: run", reason.word()),
        Answer::RecordAndRun(change, reason) => format!("{}: {}, run", reason.word(), row(change)),
        Answer::Ask(change, reason) => format!("{}: {}, wait", reason.word(), row(change)),
        Answer::Wait(reason) => format!("{}: wait", reason.word()),
    }
}

pub(crate) fn agent(steps: &[AgentStep]) -> String {
    let steps: Vec<_> = steps
        .iter()
        .map(|step| match step {
            AgentStep::Label(wanted) => format!("label {wanted}"),
            AgentStep::RestartUnit(reason) => format!("restart: {}", reason.word()),
            AgentStep::BringDown(reason) => format!("bring down: {}", reason.word()),
        })
        .collect();
    steps.join(", ")
}

fn name(copy: &Copy) -> String {
    match copy {
        Copy::Local => "local".to_owned(),
        Copy::Pod(id) => short(id),
    }
}

/// `aaaaaaaaaaaa` is `a` here.
fn short(id: &ContainerId) -> String {
    let mut letters: Vec<_> = id.as_str().chars().collect();
    letters.dedup();
    letters.into_iter().collect()
}

/// `row(up local=snmp remote=none)`: the wish, the owner with its container, the hand-shake, who asked, the version.
/// A change that is written whatever the row says by then bears an exclamation mark.
fn row(change: &RowChange) -> String {
    let id = change.container_id.as_ref().map(|id| id.as_ref().map(short).unwrap_or_default());
    let owner = match (change.current_owner, id) {
        (Some(owner), Some(id)) if id.is_empty() => Some(owner.to_string()),
        (Some(owner), Some(id)) => Some(format!("{owner}={id}")),
        (owner, id) => owner.map(CurrentOwner::as_str).map(str::to_owned).or(id),
    };
    let fields = [
        change.system_state.map(SystemState::as_str).map(str::to_owned),
        owner,
        change.remote_state.map(RemoteState::as_str).map(|word| format!("remote={word}")),
        change.remote_container_id.as_ref().map(|id| format!("asks={}", short(id))),
        change.container_version.as_ref().map(|version| format!("version={version}")),
    ];
    let condition = if change.only_if.is_some() { "" } else { "!" };
    format!("row{condition}({})", fields.into_iter().flatten().collect::<Vec<_>>().join(" "))
}
