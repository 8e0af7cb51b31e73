//! A CONFIG_DB FEATURE row as `featured` reads it.

use std::collections::HashMap;

/// The wish for a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Enabled,
    Disabled,
    AlwaysEnabled,
    AlwaysDisabled,
}

/// One row, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) state: State,
    pub(super) auto_restart: bool,
    pub(super) delayed: bool,
    pub(super) has_global_scope: bool,
    pub(super) has_per_asic_scope: bool,
    state_was_template: bool,
}

impl Row {
    /// Reads the fields; `featured`'s own defaults differ from YANG's (auto_restart disabled, global scope True).
    pub(super) fn parse(fields: &HashMap<String, String>) -> Row {
        let text = |name: &str| fields.get(name).map_or("", String::as_str);
        let truth = |name: &str, default: bool| match text(name).to_ascii_lowercase().as_str() {
            "" => default,
            template if template.contains('{') => true,
            word => word == "true",
        };
        Row {
            state: match text("state") {
                "enabled" => State::Enabled,
                "always_enabled" => State::AlwaysEnabled,
                "always_disabled" => State::AlwaysDisabled,
                template if template.contains('{') => State::Enabled,
                _ => State::Disabled,
            },
            // A substring test, as shipped: always_enabled counts too.
            auto_restart: text("auto_restart").contains("enabled"),
            delayed: truth("delayed", false),
            has_global_scope: truth("has_global_scope", true),
            has_per_asic_scope: truth("has_per_asic_scope", false),
            state_was_template: text("state").contains('{'),
        }
    }

    /// Only a rendered template or an always_* state is written back to CONFIG_DB.
    pub(super) fn write_back(&self) -> bool {
        self.state_was_template || matches!(self.state, State::AlwaysEnabled | State::AlwaysDisabled)
    }

    /// Every unit of the feature on this switch, and whether it is within the feature's scope.
    pub(super) fn instances(&self, name: &str, asics: usize) -> Vec<(String, bool)> {
        let host = (name.to_owned(), self.has_global_scope || asics == 1);
        if asics == 1 {
            return vec![host];
        }
        let per_asic = (0..asics).map(|asic| (format!("{name}@{asic}"), self.has_per_asic_scope));
        std::iter::once(host).chain(per_asic).collect()
    }
}

impl State {
    /// The word for CONFIG_DB.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            State::Enabled => "enabled",
            State::Disabled => "disabled",
            State::AlwaysEnabled => "always_enabled",
            State::AlwaysDisabled => "always_disabled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[(&str, &str)]) -> Row {
        Row::parse(&fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_template_counts_as_enabled_and_is_written_back() {
        let row = row(&[("state", "{% if DEVICE_METADATA %}enabled{% endif %}"), ("delayed", "True")]);
        assert_eq!(row.state, State::Enabled);
        assert!(row.write_back());
        assert!(row.delayed);
    }

    #[test]
    fn one_asic_means_one_plain_unit_whatever_the_scope() {
        let bgp = row(&[("has_global_scope", "False"), ("has_per_asic_scope", "True")]);
        assert_eq!(bgp.instances("bgp", 1), [("bgp".to_owned(), true)]);
        let units = [("bgp".to_owned(), false), ("bgp@0".to_owned(), true), ("bgp@1".to_owned(), true)];
        assert_eq!(bgp.instances("bgp", 2), units);
    }
}
