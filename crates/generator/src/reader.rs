//! Judges a description value by value: every rule about what may be written in one.

use std::collections::BTreeMap;

use switchyard_core::FeatureName;

use crate::description::{Dependency, Description, Owner};
use crate::error::DescriptionError;
use crate::files::sha256;
use crate::names::{
    RESERVED_OPTIONS, RESERVED_VARIABLES, UNIT_KINDS, is_reference, is_unit_base, is_user, is_variable,
};
use crate::raw::{self, Raw, Text};

/// What Docker itself uses, and SONiC with it.
const DEFAULT_STOP_TIMEOUT: u32 = 10;
/// What SONiC's units wait before they start a container again (SONIC.md 6.1).
const DEFAULT_RESTART_DELAY: u32 = 30;
/// An hour: more would hold up a reboot for longer than any operator waits.
const MAX_SECONDS: u32 = 3600;

/// Judges the raw description; knows the text so that it can say on which line something stands.
pub(crate) struct Reader<'a> {
    pub(crate) text: &'a str,
}

impl Reader<'_> {
    pub(crate) fn description(&self, raw: &Raw) -> Result<Description, DescriptionError> {
        let name = self.name(&raw.name)?;
        let (host_scope, asic_scope) = self.scope(raw.scope.as_deref())?;
        if asic_scope && name.as_str().ends_with(|c: char| c.is_ascii_digit()) {
            return Err(self.value(
                "name",
                &raw.name,
                "a feature with a container per ASIC must not end in a digit, its containers do",
            ));
        }
        if raw.kube_only && raw.owner == Some(Owner::Local) {
            return Err(conflict(
                "kube_only = true and owner = \"local\": a kube-only feature has no local image to run",
            ));
        }
        if raw.kube_only && raw.image.is_some() {
            return Err(conflict("kube_only = true and image: leave the image out, Kubernetes brings it"));
        }
        if !raw.kube_only && raw.image.is_none() {
            return Err(conflict("image is missing: name the feature's image, or write kube_only = true"));
        }
        let image = raw.image.as_ref().map(|image| self.image(image)).transpose()?;
        let user = match &raw.user {
            Some(user) => {
                self.checked("user", user, "a user's name: lower-case letters, digits, '_' and '-'", is_user)?
            }
            None => "admin".to_owned(),
        };
        let wanted_by = match &raw.dependencies.wanted_by {
            Some(units) => self.dependencies("wanted_by", units, &name)?,
            // featured starts a delayed feature once the ports are up; nothing else may (SONIC.md 6.1).
            None if raw.delayed => Vec::new(),
            None => vec![Dependency { base: "sonic".into(), kind: ".target", per_asic: false }],
        };
        Ok(Description {
            summary: match &raw.description {
                // A unit file would take the next line for part of it.
                Some(text) if text.get_ref().ends_with('\\') => {
                    return Err(self.value("description", text, "must not end in a backslash"));
                }
                Some(text) => self.plain("description", text)?,
                None => format!("{name} container"),
            },
            image,
            host_scope,
            asic_scope,
            user,
            stop_timeout: self.seconds(
                "stop_timeout_seconds",
                raw.stop_timeout_seconds.as_ref(),
                DEFAULT_STOP_TIMEOUT,
            )?,
            restart_delay: self.seconds(
                "restart_delay_seconds",
                raw.restart_delay_seconds.as_ref(),
                DEFAULT_RESTART_DELAY,
            )?,
            delayed: raw.delayed,
            auto_restart: raw.auto_restart,
            state: raw.state,
            owner: raw.owner.unwrap_or(if raw.kube_only { Owner::Kube } else { Owner::Local }),
            requires: self.dependencies("requires", &raw.dependencies.requires, &name)?,
            requisite: self.dependencies("requisite", &raw.dependencies.requisite, &name)?,
            after: self.dependencies("after", &raw.dependencies.after, &name)?,
            before: self.dependencies("before", &raw.dependencies.before, &name)?,
            wanted_by,
            arguments: self.arguments(&raw.container)?,
            command: self.all_plain("container.command", &raw.container.command)?,
            environment: self.environment(&raw.container)?,
            volumes: self.volumes(&raw.container)?,
            network: match &raw.container.network {
                Some(network) => Some(self.checked(
                    "container.network",
                    network,
                    "host, bridge, none, the name of a network, or container:NAME",
                    |text| is_reference(text) && !text.starts_with(['/', '@']),
                )?),
                None => None,
            },
            pre_start: self.all_plain("hooks.pre_start", &raw.hooks.pre_start)?,
            post_start: self.all_plain("hooks.post_start", &raw.hooks.post_start)?,
            name,
            source: sha256(self.text.as_bytes()),
        })
    }

    fn name(&self, text: &Text) -> Result<FeatureName, DescriptionError> {
        let name = FeatureName::parse(text.get_ref())
            .map_err(|error| self.value("name", text, &error.to_string()))?;
        if name.is_database() {
            return Err(self.value(
                "name",
                text,
                "database carries the rows themselves and is never generated",
            ));
        }
        Ok(name)
    }

    fn scope(&self, scope: Option<&[Text]>) -> Result<(bool, bool), DescriptionError> {
        let Some(scope) = scope else { return Ok((true, false)) };
        let (mut host, mut asic) = (false, false);
        for word in scope {
            match word.get_ref().as_str() {
                "host" => host = true,
                "asic" => asic = true,
                _ => return Err(self.value("scope", word, "\"host\", \"asic\" or both")),
            }
        }
        if host || asic {
            Ok((host, asic))
        } else {
            Err(conflict("scope = []: name \"host\", \"asic\" or both"))
        }
    }

    fn image(&self, text: &Text) -> Result<String, DescriptionError> {
        let image = self.checked("image", text, "an image: letters, digits and . _ - / : @", is_reference)?;
        // As Docker reads it; written out, so that the script and the reader need not know.
        let last = image.rsplit('/').next().unwrap_or_default();
        Ok(if last.contains([':', '@']) { image } else { format!("{image}:latest") })
    }

    fn arguments(&self, container: &raw::Container) -> Result<Vec<String>, DescriptionError> {
        if let Some(first) = container.arguments.first().filter(|first| !first.get_ref().starts_with('-')) {
            return Err(self.value(
                "container.arguments",
                first,
                "the first argument must be an option of docker create",
            ));
        }
        for argument in &container.arguments {
            let option = argument.get_ref().split('=').next().unwrap_or_default();
            if let Some((_, why)) = RESERVED_OPTIONS.iter().find(|(reserved, _)| *reserved == option) {
                return Err(self.value("container.arguments", argument, &format!("not allowed: {why}")));
            }
        }
        self.all_plain("container.arguments", &container.arguments)
    }

    fn environment(&self, container: &raw::Container) -> Result<BTreeMap<String, String>, DescriptionError> {
        let mut environment = BTreeMap::new();
        for (name, value) in &container.environment {
            let key = self.checked(
                "container.environment",
                name,
                "a variable's name: letters, digits and '_'",
                is_variable,
            )?;
            if RESERVED_VARIABLES.contains(&key.as_str()) {
                return Err(self.value(
                    "container.environment",
                    name,
                    "set for every container by the control script",
                ));
            }
            let value = self.plain(&format!("container.environment.{key}"), value)?;
            environment.insert(key, value);
        }
        Ok(environment)
    }

    fn volumes(&self, container: &raw::Container) -> Result<Vec<String>, DescriptionError> {
        for volume in &container.volumes {
            let mut parts = volume.get_ref().split(':');
            let source = parts.next().unwrap_or_default();
            let target = parts.next().unwrap_or_default();
            if source.is_empty()
                || source.starts_with('-')
                || !target.starts_with('/')
                || parts.nth(1).is_some()
            {
                return Err(self.value(
                    "container.volumes",
                    volume,
                    "SOURCE:/TARGET or SOURCE:/TARGET:OPTIONS",
                ));
            }
        }
        self.all_plain("container.volumes", &container.volumes)
    }

    fn dependencies(
        &self,
        key: &str,
        units: &[Text],
        own: &FeatureName,
    ) -> Result<Vec<Dependency>, DescriptionError> {
        let key = format!("dependencies.{key}");
        let mut found = Vec::new();
        for unit in units {
            let name = unit.get_ref().as_str();
            let kind = UNIT_KINDS.into_iter().find(|kind| name.ends_with(kind));
            let stem = kind.and_then(|kind| name.strip_suffix(kind)).unwrap_or(name);
            let base = stem.strip_suffix('@').unwrap_or(stem);
            if !is_unit_base(base) {
                return Err(self.value(
                    &key,
                    unit,
                    "a feature or unit: swss, swss@ (same ASIC), sonic.target",
                ));
            }
            if base == own.as_str() && kind.is_none_or(|kind| kind == ".service") {
                return Err(self.value(&key, unit, "a feature cannot depend on itself"));
            }
            let dependency = Dependency {
                base: base.to_owned(),
                kind: kind.unwrap_or(".service"),
                per_asic: stem != base,
            };
            if !found.contains(&dependency) {
                found.push(dependency);
            }
        }
        Ok(found)
    }

    fn seconds(
        &self,
        key: &str,
        value: Option<&toml::Spanned<u32>>,
        default: u32,
    ) -> Result<u32, DescriptionError> {
        let Some(value) = value else { return Ok(default) };
        if (1..=MAX_SECONDS).contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        Err(DescriptionError::Value {
            line: line_of(self.text, value.span().start),
            key: key.to_owned(),
            value: value.get_ref().to_string(),
            rule: format!("1 to {MAX_SECONDS} seconds"),
        })
    }

    fn all_plain(&self, key: &str, texts: &[Text]) -> Result<Vec<String>, DescriptionError> {
        texts.iter().map(|text| self.plain(key, text)).collect()
    }

    /// One line of text. Control characters have no use in any value and would break lines of a unit or script.
    fn plain(&self, key: &str, text: &Text) -> Result<String, DescriptionError> {
        self.checked(key, text, "one line without control characters", |text| {
            !text.chars().any(char::is_control)
        })
    }

    fn checked(
        &self,
        key: &str,
        text: &Text,
        rule: &str,
        allowed: impl Fn(&str) -> bool,
    ) -> Result<String, DescriptionError> {
        if allowed(text.get_ref()) { Ok(text.get_ref().clone()) } else { Err(self.value(key, text, rule)) }
    }

    fn value(&self, key: &str, text: &Text, rule: &str) -> DescriptionError {
        DescriptionError::Value {
            line: line_of(self.text, text.span().start),
            key: key.to_owned(),
            value: text.get_ref().clone(),
            rule: rule.to_owned(),
        }
    }
}

fn conflict(problem: &str) -> DescriptionError {
    DescriptionError::Conflict(problem.to_owned())
}

/// The line that the byte at `offset` is on, counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
