//! How a change goes into a FEATURE row of STATE_DB: compared with what the decision rested on and written by the
//! server in one go, so that of two writers that saw the same row one is told to look again.
//!
//! Beside the shipped fields go the older names that the seeds' readers look for: `docker_id` with every
//! `container_id`, and `current_owner_update_ts` when the owner really changes, which is also what "since when" is
//! answered from. Their `last_update_ts` is only read: it never meant anything else than `update_time`.

use serde_json::{Value, json};
use switchyard_core::{ContainerId, CurrentOwner, OnlyIf, RemoteState, RowChange, Version};

use crate::rows::OLDER_LOCAL;

/// KEYS[1] is the row, ARGV[1] what [`argument`] makes. Returns 1 if it was written, 0 if the condition fails.
pub(crate) const SCRIPT: &str = r"
local ask = cjson.decode(ARGV[1])
local function one_of(field, words)
  local is = redis.call('HGET', KEYS[1], field)
  if not is and field == 'container_id' then is = redis.call('HGET', KEYS[1], 'docker_id') end
  is = is or ''
  is = string.lower(string.match(is, '^%s*(.-)%s*$'))
  for _, word in ipairs(words) do
    if is == word then return true end
  end
  return false
end
for _, condition in ipairs(ask.only_if) do
  if not one_of(condition[1], condition[2]) then return 0 end
end
if #ask.set == 0 then return 1 end
if #ask.owner > 0 and not one_of('current_owner', ask.owner) then
  redis.call('HSET', KEYS[1], 'current_owner_update_ts', ask.now)
end
redis.call('HSET', KEYS[1], 'update_time', ask.now, unpack(ask.set))
return 1
";

/// What the script needs to know.
pub(crate) fn argument(change: &RowChange, now: &str) -> String {
    let set: Vec<Value> =
        new_values(change).into_iter().flat_map(|(field, value)| [json!(field), json!(value)]).collect();
    let owner = change.current_owner.map(owner_words).unwrap_or_default();
    let only_if = change.only_if.as_ref().map(conditions).unwrap_or_default();
    json!({ "set": set, "owner": owner, "only_if": only_if, "now": now }).to_string()
}

/// The fields that a change sets, without the time stamps.
pub(crate) fn new_values(change: &RowChange) -> Vec<(&'static str, String)> {
    // Named one by one, so that a new field of the change stops the build here.
    let RowChange {
        system_state,
        current_owner,
        container_id,
        container_version,
        stable_version,
        last_version,
        remote_state,
        remote_container_id: _,
        only_if: _,
    } = change;
    let asker = change.asker().map(|id| id.map(ContainerId::to_string).unwrap_or_default());
    let id = container_id.as_ref().map(|id| id.as_ref().map(ContainerId::to_string).unwrap_or_default());
    let version = |version: &Option<Version>| version.as_ref().map(Version::to_string);
    [
        ("system_state", system_state.map(|state| state.to_string())),
        ("current_owner", current_owner.map(|owner| owner.to_string())),
        ("container_id", id.clone()),
        ("docker_id", id),
        ("container_version", version(container_version)),
        ("container_stable_version", version(stable_version)),
        ("container_last_version", version(last_version)),
        ("remote_state", remote_state.map(|state| state.to_string())),
        ("remote_container_id", asker),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field, value?)))
    .collect()
}

/// Each field on which the decision rested, with all the words that mean what was seen.
fn conditions(seen: &OnlyIf) -> Vec<(&'static str, Vec<String>)> {
    let OnlyIf { system_state, current_owner, container_id, remote_state, remote_container_id } = seen;
    let mut remote = vec![remote_state.to_string()];
    if *remote_state == RemoteState::None {
        remote.push(String::new());
    }
    let id = |id: &Option<ContainerId>| {
        vec![id.as_ref().map(|id| id.as_str().to_ascii_lowercase()).unwrap_or_default()]
    };
    vec![
        ("system_state", vec![system_state.map(|wish| wish.to_string()).unwrap_or_default()]),
        ("current_owner", owner_words(*current_owner)),
        ("container_id", id(container_id)),
        ("remote_state", remote),
        ("remote_container_id", id(remote_container_id)),
    ]
}

fn owner_words(owner: CurrentOwner) -> Vec<String> {
    let others: &[&str] = match owner {
        CurrentOwner::Local => &OLDER_LOCAL,
        CurrentOwner::Kube => &[],
        CurrentOwner::None => &[""],
    };
    others.iter().map(ToString::to_string).chain([owner.to_string()]).collect()
}
