//! The stand-in for SONiC's `featured`: from CONFIG_DB FEATURE rows to systemctl, as SONIC.md section 2.8 describes it.
//!
//! Faithful where the product can notice: the order of steps, the drop-in, what is left alone, which state is written.
//! Left out: templates are not rendered (SONiC renders Jinja; here any template counts as *enabled* or *true*), the
//! DPU scope, and the SpineRouter exceptions.

mod database;
mod row;
mod units;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use database::{Change, Databases};
use row::{Row, State};

/// SONiC's units that have their own masters; `featured` neither starts nor stops them nor records their state.
const LEFT_ALONE: [&str; 2] = ["telemetry", "frr_bmp"];

/// What can be set on the command line.
#[derive(Debug)]
pub struct Options {
    /// Delayed features start after this long even if the ports never come up (SONiC: 180 s).
    pub port_init_timeout: Duration,
    /// The number of ASICs; more than one brings per-ASIC instances and namespaces.
    pub asics: usize,
}

impl Options {
    /// Reads `--port-init-timeout SECONDS` and `--asics N`.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Options> {
        let mut options = Options { port_init_timeout: Duration::from_mins(3), asics: 1 };
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let value = args.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--port-init-timeout" => options.port_init_timeout = Duration::from_secs(value.parse()?),
                "--asics" => options.asics = value.parse()?,
                _ => bail!("unknown option {name}"),
            }
        }
        Ok(options)
    }
}

/// Applies all rows and then every change, for ever. An error ends it (Redis gone, say): systemd starts it again, and
/// applying the same rows twice changes nothing.
pub fn run(options: &Options) -> Result<()> {
    let databases = Databases::open(options.asics)?;
    // Subscribe first, list second: a change in between is then seen twice and never missed.
    let mut changes = databases.subscribe()?;
    let mut featured = Featured {
        ports_ready: databases.ports_ready()? || databases.warm_or_fast_boot()?,
        deadline: Instant::now() + options.port_init_timeout,
        asics: options.asics,
        known: BTreeMap::new(),
        databases,
    };
    featured.apply_all()?;
    loop {
        let patience =
            (!featured.ports_ready).then(|| featured.deadline.saturating_duration_since(Instant::now()));
        match changes.next(patience)? {
            Some(Change::Feature(name)) => featured.update(&name)?,
            Some(Change::PortsReady) | None => featured.ports_are_ready()?,
        }
    }
}

struct Featured {
    databases: Databases,
    asics: usize,
    known: BTreeMap<String, Row>,
    ports_ready: bool,
    deadline: Instant,
}

impl Featured {
    fn apply_all(&mut self) -> Result<()> {
        for name in self.databases.features()? {
            if let Some(row) = self.databases.feature(&name)? {
                self.write_drop_ins(&name, &row)?;
                self.known.insert(name, row);
            }
        }
        units::systemctl(&["daemon-reload"])?;
        for (name, row) in self.known.clone() {
            self.apply(&name, &row)?;
            if row.write_back() {
                self.databases.write_back(&name, &row)?;
            }
        }
        Ok(())
    }

    fn update(&mut self, name: &str) -> Result<()> {
        let Some(mut row) = self.databases.feature(name)? else {
            self.known.remove(name);
            return self.databases.forget(name);
        };
        let before = self.known.get(name).cloned();
        if let Some(before) = &before
            && !before.state.may_become(row.state)
        {
            println!("{name}: {:?} may not become {:?}", before.state, row.state);
            if before.state.is_always() {
                row.state = before.state;
                self.databases.write_back(name, &row)?;
            }
            return Ok(());
        }
        let restart_rule_changed =
            before.as_ref().is_none_or(|before| before.auto_restart != row.auto_restart);
        if restart_rule_changed {
            self.write_drop_ins(name, &row)?;
            units::systemctl(&["daemon-reload"])?;
        }
        let changed = before.as_ref() != Some(&row);
        self.known.insert(name.to_owned(), row.clone());
        if changed { self.apply(name, &row) } else { Ok(()) }
    }

    fn ports_are_ready(&mut self) -> Result<()> {
        if self.ports_ready {
            return Ok(());
        }
        self.ports_ready = true;
        for (name, row) in self.known.clone() {
            if row.delayed {
                self.apply(&name, &row)?;
            }
        }
        Ok(())
    }

    fn apply(&self, name: &str, row: &Row) -> Result<()> {
        if LEFT_ALONE.contains(&name) {
            return Ok(());
        }
        for (instance, in_scope) in row.instances(name, self.asics) {
            if !in_scope {
                units::disable(&instance)?;
            }
        }
        if row.state.is_on() && row.delayed && !self.ports_ready {
            return Ok(());
        }
        let mut good = true;
        for (instance, in_scope) in row.instances(name, self.asics) {
            if in_scope {
                good &=
                    if row.state.is_on() { units::enable(&instance)? } else { units::disable(&instance)? };
            }
        }
        let outcome = match (good, row.state.is_on()) {
            (false, _) => "failed",
            (true, true) => "enabled",
            (true, false) => "disabled",
        };
        println!("{name}: {outcome}");
        self.databases.record_state(name, outcome)
    }

    fn write_drop_ins(&self, name: &str, row: &Row) -> Result<()> {
        for (instance, in_scope) in row.instances(name, self.asics) {
            if in_scope {
                units::write_restart_rule(&instance, row.auto_restart)?;
            }
        }
        Ok(())
    }
}

impl State {
    fn is_on(self) -> bool {
        matches!(self, State::Enabled | State::AlwaysEnabled)
    }

    fn is_always(self) -> bool {
        matches!(self, State::AlwaysEnabled | State::AlwaysDisabled)
    }

    /// SONIC.md 2.8 item 3: the two always_ states may only turn into each other.
    fn may_become(self, next: State) -> bool {
        self == next || self.is_always() == next.is_always()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_always_state_only_turns_into_the_other_one() {
        assert!(State::Enabled.may_become(State::Disabled));
        assert!(State::AlwaysEnabled.may_become(State::AlwaysDisabled));
        assert!(!State::AlwaysEnabled.may_become(State::Disabled));
        assert!(!State::Disabled.may_become(State::AlwaysEnabled));
    }

    #[test]
    fn options_are_named_and_checked() {
        let options = Options::from_args(["--asics", "2"].map(String::from)).unwrap();
        assert_eq!((options.asics, options.port_init_timeout), (2, Duration::from_mins(3)));
        assert!(Options::from_args(["--asics"].map(String::from)).is_err());
        assert!(Options::from_args(["--dpus", "2"].map(String::from)).is_err());
    }
}
