//! What a FEATURE row says, from the words that any of its many writers may have used (SONIC.md 2.1, 2.4, 1.6).
//!
//! A missing or empty field takes the shipped default; a word that nobody knows is an error that names it. Words are
//! compared without regard to case. What a row then means is core's business; `write` puts words back.

use switchyard_core::{
    Admin, AsicId, ContainerId, CurrentOwner, FeatureConfig, FeatureName, FeatureState, Instance, KubeUpdate,
    NameError, RemoteState, SetOwner, SystemState, Version, Words,
};

use crate::{Fields, RowError};

/// What the seeds' documents call the owner `local`.
pub(crate) const OLDER_LOCAL: [&str; 3] = ["systemd", "docker", "legacy"];

const BOOLEAN: &str = "true or false";

/// A boolean by its meaning, whatever wrote it: Python's `True`, YANG's `true`, a person's `yes`.
///
/// `"false"` is false: shipped readers took any text for true (`no_fallback_to_local`, SONIC.md 3.1).
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim_ascii().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "enabled" | "enable" => Some(true),
        "false" | "no" | "off" | "0" | "disabled" | "disable" | "none" | "null" | "" => Some(false),
        _ => None,
    }
}

/// The configuration of a feature, from its CONFIG_DB row.
pub fn parse_config(name: &FeatureName, fields: &Fields) -> Result<FeatureConfig, RowError> {
    let row = Row { database: "CONFIG_DB", asic: None, feature: name, fields };
    let default = FeatureConfig::default();
    Ok(FeatureConfig {
        state: row.admin()?.unwrap_or(default.state),
        set_owner: row
            .word("set_owner", &OLDER_LOCAL.map(|older| (older, SetOwner::Local)))?
            .unwrap_or(default.set_owner),
        fallback: row.boolean("no_fallback_to_local")?.map_or(default.fallback, |forbidden| !forbidden),
        kube_update: row.word::<KubeUpdate>("kube_update", &[])?,
        auto_restart: row.auto_restart()?.unwrap_or(default.auto_restart),
        delayed: row.boolean("delayed")?.unwrap_or(default.delayed),
        has_global_scope: row.boolean("has_global_scope")?.unwrap_or(default.has_global_scope),
        has_per_asic_scope: row.boolean("has_per_asic_scope")?.unwrap_or(default.has_per_asic_scope),
    })
}

/// What is recorded of an instance, from the STATE_DB row of its namespace.
///
/// The shipped field counts where both it and its older name are there: SONiC's own scripts write only that.
pub fn parse_state(instance: &Instance, fields: &Fields) -> Result<FeatureState, RowError> {
    let row = Row { database: "STATE_DB", asic: instance.asic, feature: &instance.feature, fields };
    Ok(FeatureState {
        system_state: row.word::<SystemState>("system_state", &[])?,
        current_owner: row
            .word("current_owner", &OLDER_LOCAL.map(|older| (older, CurrentOwner::Local)))?
            .unwrap_or(CurrentOwner::None),
        container_id: row.id(if fields.contains_key("container_id") {
            "container_id"
        } else {
            "docker_id"
        })?,
        container_version: row.version("container_version")?,
        stable_version: row.version("container_stable_version")?,
        last_version: row.version("container_last_version")?,
        remote_state: row.word("remote_state", &[])?.unwrap_or(RemoteState::None),
        remote_container_id: row.id("remote_container_id")?,
        update_time: row.first(&["update_time", "last_update_ts"]),
        owner_since: row.first(&["current_owner_update_ts", "update_time", "last_update_ts"]),
    })
}

/// A boolean of another row than FEATURE.
pub(crate) fn boolean_of(
    database: &'static str,
    row: &str,
    field: &'static str,
    word: Option<String>,
) -> Result<bool, RowError> {
    let word = word.unwrap_or_default();
    parse_bool(&word).ok_or_else(|| RowError {
        database,
        asic: None,
        row: row.to_owned(),
        field,
        word,
        allowed: BOOLEAN.into(),
    })
}

/// `featured` renders templates; until then the shipped readers see the raw text.
fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

struct Row<'a> {
    database: &'static str,
    asic: Option<AsicId>,
    feature: &'a FeatureName,
    fields: &'a Fields,
}

impl Row<'_> {
    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(|text| text.trim_ascii()).filter(|text| !text.is_empty())
    }

    fn first(&self, fields: &[&str]) -> Option<String> {
        fields.iter().find_map(|field| self.text(field)).map(Into::into)
    }

    fn wrong(&self, field: &'static str, allowed: impl Into<String>) -> RowError {
        RowError {
            database: self.database,
            asic: self.asic,
            row: format!("FEATURE|{}", self.feature),
            field,
            word: self.fields.get(field).cloned().unwrap_or_default(),
            allowed: allowed.into(),
        }
    }

    fn word<T: Words>(&self, field: &'static str, older: &[(&str, T)]) -> Result<Option<T>, RowError> {
        let Some(text) = self.text(field) else { return Ok(None) };
        let known = T::ALL.iter().map(|(value, word)| (*word, *value)).chain(older.iter().copied());
        let value = known.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        value.map(|(_, value)| Some(value)).ok_or_else(|| self.wrong(field, words::<T>()))
    }

    /// `template` is our name for an unrendered text, no word that may stand in the row.
    fn admin(&self) -> Result<Option<Admin>, RowError> {
        match self.text("state") {
            Some(text) if is_template(text) => Ok(Some(Admin::Template)),
            _ => match self.word("state", &[])? {
                Some(Admin::Template) => Err(self.wrong("state", words::<Admin>())),
                state => Ok(state),
            },
        }
    }

    /// `featured` restarts at any text that contains "enabled"; "disabled" does not.
    fn auto_restart(&self) -> Result<Option<bool>, RowError> {
        match self.text("auto_restart") {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("always_enabled") => Ok(Some(true)),
            Some(text) => parse_bool(text)
                .map(Some)
                .ok_or_else(|| self.wrong("auto_restart", "enabled, disabled, always_enabled")),
        }
    }

    /// None also for a template: until `featured` renders it, the default counts.
    fn boolean(&self, field: &'static str) -> Result<Option<bool>, RowError> {
        match self.text(field) {
            None => Ok(None),
            Some(text) if is_template(text) => Ok(None),
            Some(text) => parse_bool(text).map(Some).ok_or_else(|| self.wrong(field, BOOLEAN)),
        }
    }

    fn id(&self, field: &'static str) -> Result<Option<ContainerId>, RowError> {
        self.named(field, ContainerId::parse, "a container id")
    }

    fn version(&self, field: &'static str) -> Result<Option<Version>, RowError> {
        self.named(field, Version::parse, "up to 128 printable characters without spaces")
    }

    fn named<T>(
        &self,
        field: &'static str,
        parse: impl Fn(&str) -> Result<T, NameError>,
        allowed: &str,
    ) -> Result<Option<T>, RowError> {
        self.text(field).map(|text| parse(text).map_err(|_| self.wrong(field, allowed))).transpose()
    }
}

fn words<T: Words>() -> String {
    let words: Vec<_> = T::ALL.iter().map(|(_, word)| *word).filter(|word| *word != "template").collect();
    words.join(", ")
}

#[cfg(test)]
mod tests;
