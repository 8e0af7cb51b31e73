//! Rows that hold what nobody understands: a control script's verb and the questions of people say which field of which
//! row it is and how it is mended, and change nothing.

use anyhow::{Context, Result, ensure};

use super::facts::{SOON, property, run, wait_local};
use super::refusal::{all_refused, difference, refusal, snapshot};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "garbage in any field of a CONFIG_DB row is named with the command that mends it",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: configuration,
    },
    Scenario {
        name: "garbage in any field of a STATE_DB row is named with the command that mends it",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: state,
    },
    Scenario {
        name: "every verb that needs a row with garbage is refused for it and changes nothing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: every_verb,
    },
    Scenario {
        name: "a feature that runs goes on under a row with garbage",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: poisoned_while_it_runs,
    },
    Scenario {
        name: "one row with garbage hides no other feature",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: others_are_listed,
    },
];

/// No word of ours, no boolean, no id and no version; text that is no UTF-8; and too long for anything.
const GARBAGE: &str = "'some body' $'\\xff\\xfe' \"$(printf 'x%.0s' {1..300})\"";

fn configuration(switch: &Switch) -> Result<()> {
    // Only in `state` there is no default to go back to.
    each_field_is_named(switch, "CONFIG_DB", &[("state", "config feature state sflow enabled|disabled")])?;
    let fields = [
        "set_owner",
        "no_fallback_to_local",
        "kube_update",
        "auto_restart",
        "delayed",
        "has_global_scope",
        "has_per_asic_scope",
    ];
    let mended = fields.map(|field| (field, "sonic-db-cli CONFIG_DB HDEL 'FEATURE|sflow'"));
    each_field_is_named(switch, "CONFIG_DB", &mended)
}

fn state(switch: &Switch) -> Result<()> {
    let fields = [
        "system_state",
        "current_owner",
        "container_id",
        "docker_id",
        "container_version",
        "container_stable_version",
        "container_last_version",
        "remote_state",
        "remote_container_id",
    ];
    let mended = fields.map(|field| (field, "sonic-db-cli STATE_DB HDEL 'FEATURE|sflow'"));
    each_field_is_named(switch, "STATE_DB", &mended)
}

/// Puts garbage into each field in turn and asks `container stop`, as a control script would. Told in one go, since
/// there are many: each line of the answer is field, exit code, number of lines, and what was said.
fn each_field_is_named(switch: &Switch, database: &str, fields: &[(&str, &str)]) -> Result<()> {
    let names: Vec<&str> = fields.iter().map(|(field, _)| *field).collect();
    let before = snapshot(switch)?;
    let told = switch.ok(&format!(
        "row='FEATURE|sflow'
         for field in {names}; do
           old=$(sonic-db-cli {database} HGET \"$row\" $field)
           for garbage in {GARBAGE}; do
             sonic-db-cli {database} HSET \"$row\" $field \"$garbage\" > /dev/null
             said=$(timeout 20 container stop sflow 2>&1); code=$?
             echo \"$field $code $(echo \"$said\" | wc -l) $said\"
             [ \"$(sonic-db-cli {database} HGET \"$row\" $field)\" = \"$garbage\" ] || echo \"$field was changed\"
           done
           if [ -n \"$old\" ]; then sonic-db-cli {database} HSET \"$row\" $field \"$old\"
           else sonic-db-cli {database} HDEL \"$row\" $field; fi > /dev/null
         done",
        names = names.join(" ")
    ))?;
    let lines: Vec<&str> = told.lines().collect();
    ensure!(lines.len() == fields.len() * 3, "an answer has more than one line: {told}");
    for (answers, (field, mend)) in lines.chunks(3).zip(fields) {
        for answer in answers {
            let start = format!("{field} 10 1 container: {database} FEATURE|sflow: {field} is \"");
            ensure!(
                answer.starts_with(&start) && answer.contains(mend),
                "{field}: unexpected answer {answer:?}"
            );
            ensure!(answer.len() < 400, "{field}: too much is shown of the garbage: {answer:?}");
        }
    }
    let after = snapshot(switch)?;
    ensure!(before == after, "something changed: {}", difference(&before, &after));
    Ok(())
}

/// What each field does to one verb is told above; here it is what each verb makes of one field.
fn every_verb(switch: &Switch) -> Result<()> {
    let all = [
        "container start",
        "container kill",
        "container wait",
        "system service status",
        "system service explain",
    ];
    for (database, field, one_more, says) in [
        // The question for the id needs no configuration, and the wish for a state no record.
        (
            "CONFIG_DB",
            "set_owner",
            "system service enable",
            "CONFIG_DB FEATURE|sflow: set_owner is \"somebody\"",
        ),
        (
            "STATE_DB",
            "current_owner",
            "container id",
            "STATE_DB FEATURE|sflow: current_owner is \"somebody\"",
        ),
    ] {
        let verbs = all.iter().copied().chain([one_more]);
        let refusals: Vec<_> = verbs.map(|verb| refusal(format!("{verb} sflow"), 10, says)).collect();
        with_garbage(switch, database, "sflow", field, || all_refused(switch, &refusals))?;
    }
    Ok(())
}

fn poisoned_while_it_runs(switch: &Switch) -> Result<()> {
    let main_pid = || property(switch, "snmp.service", "MainPID");
    let (before, watcher) = (run(switch, "snmp")?, main_pid()?);
    for (database, field) in [("STATE_DB", "current_owner"), ("CONFIG_DB", "set_owner")] {
        let begin = switch.ok("date '+%Y-%m-%d %H:%M:%S'")?;
        with_garbage(switch, database, "snmp", field, || {
            let told = format!(
                "journalctl --quiet --boot --since '{begin}' | grep 'could not be checked' | grep -q {field}"
            );
            switch.wait_ok(&format!("the garbage in {field} is told of"), SOON, &told)?;
            ensure!(main_pid()? == watcher, "its unit's process should not have ended over {field}");
            ensure!(run(switch, "snmp")? == before, "it should run on with garbage in {field}");
            switch.payload("snmp", "status").map(drop)
        })?;
        wait_local(switch, "snmp")?;
        ensure!(
            main_pid()? == watcher && run(switch, "snmp")? == before,
            "the mending should restart nothing"
        );
    }
    Ok(())
}

/// Tells a story while there is no word that anybody knows in a field, and puts back what was there.
fn with_garbage(
    switch: &Switch,
    database: &str,
    feature: &str,
    field: &str,
    story: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let before = switch.ok(&format!("sonic-db-cli {database} HGET 'FEATURE|{feature}' {field}"))?;
    switch.ok(&format!("sonic-db-cli {database} HSET 'FEATURE|{feature}' {field} somebody"))?;
    let told = story();
    let mended = if before.is_empty() {
        switch.ok(&format!("sonic-db-cli {database} HDEL 'FEATURE|{feature}' {field}"))
    } else {
        switch.ok(&format!("sonic-db-cli {database} HSET 'FEATURE|{feature}' {field} '{before}'"))
    };
    told.and(mended.map(drop))
}

fn others_are_listed(switch: &Switch) -> Result<()> {
    for (garbage, command) in [
        ("CONFIG_DB HSET 'FEATURE|sflow' set_owner somebody", "container list"),
        ("STATE_DB HSET 'FEATURE|sflow' current_owner somebody", "system service list"),
    ] {
        let before = switch.ok(&format!("{command} -o json | jq -r '.[].name' | paste -sd' '"))?;
        switch.ok(&format!("sonic-db-cli {garbage}"))?;
        let listed = switch.sh(&format!("{command} -o json"));
        switch.ok("sonic-db-cli STATE_DB HDEL 'FEATURE|sflow' current_owner; sonic-db-cli CONFIG_DB HSET 'FEATURE|sflow' set_owner local")?;
        let listed = listed?;
        let said = listed.stderr.trim();
        ensure!(
            listed.status == 10 && said.contains("FEATURE|sflow") && said.lines().count() == 1,
            "{command} ended with {} and said {said:?}",
            listed.status
        );
        let names: serde_json::Value = serde_json::from_str(&listed.stdout).context("not JSON")?;
        let names: Vec<&str> =
            names.as_array().into_iter().flatten().filter_map(|line| line["name"].as_str()).collect();
        ensure!(
            names.join(" ") == before.replace(" sflow", ""),
            "{command} lists {names:?}, and without the garbage {before}"
        );
    }
    Ok(())
}
