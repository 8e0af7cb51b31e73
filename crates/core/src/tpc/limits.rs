//! How much of the machine a third-party container may have, and whether there is so much left.
//!
//! Amounts are reservations: together they must fit below the cap over all TPCs, so that one that was let in never
//! takes what another was promised, and none of them what SONiC itself needs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::TpcName;

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {rule}")]
pub struct BadAmount {
    what: &'static str,
    text: String,
    rule: &'static str,
}

/// A share of the whole machine, all its processors together, in tenths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu(u32);

impl Cpu {
    /// What a TPC gets if nobody says otherwise (seed 004).
    pub const DEFAULT: Self = Self(200);
    const WHOLE: u32 = 1000;

    /// In tenths of a percent.
    pub fn tenths(self) -> u32 {
        self.0
    }

    /// In billionths of one processor, as the engine takes it.
    pub fn nano_cpus(self, processors: u32) -> i64 {
        i64::from(self.0) * i64::from(processors) * 1_000_000
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for Cpu {
    type Err = BadAmount;

    /// `20%`, `20` or `12.5%`, of the whole machine.
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        const RULE: &str = "a percentage of the machine from 1% to 100%, such as 20% or 12.5%";
        let bad = || BadAmount { what: "--cpu", text: text.to_owned(), rule: RULE };
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(tenth) || tenth.len() > 1 {
            return Err(bad());
        }
        let whole: u32 = whole.parse().map_err(|_| bad())?;
        let tenth: u32 = tenth.parse().map_err(|_| bad())?;
        let tenths = whole.checked_mul(10).and_then(|tens| tens.checked_add(tenth)).ok_or_else(bad)?;
        if (10..=Self::WHOLE).contains(&tenths) { Ok(Self(tenths)) } else { Err(bad()) }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&percent(u64::from(self.0)))
    }
}

fn percent(tenths: u64) -> String {
    if tenths.is_multiple_of(10) {
        format!("{}%", tenths / 10)
    } else {
        format!("{}.{}%", tenths / 10, tenths % 10)
    }
}

/// The engine refuses to run anything with less memory than this.
const MEMORY_MIN: u64 = 6 << 20;

/// Less than this holds no file system worth a container.
const DISK_MIN: u64 = 1 << 20;

const BYTES_RULE: &str = "a number of bytes with k, M, G or T, such as 256M";

/// So much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(u64);

/// So much room on disk: private volume and writable layer together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Disk(u64);

impl Memory {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl Disk {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Memory {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let bad = |rule| BadAmount { what: "--memory", text: text.to_owned(), rule };
        let bytes = bytes(text).ok_or_else(|| bad(BYTES_RULE))?;
        if bytes < MEMORY_MIN {
            Err(bad("the engine runs nothing with less than 6M"))
        } else {
            Ok(Self(bytes))
        }
    }
}

impl FromStr for Disk {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let bad = |rule| BadAmount { what: "--disk", text: text.to_owned(), rule };
        let bytes = bytes(text).ok_or_else(|| bad(BYTES_RULE))?;
        if bytes < DISK_MIN { Err(bad("at least 1M is needed")) } else { Ok(Self(bytes)) }
    }
}

const UNITS: [(char, u64); 4] = [('T', 1 << 40), ('G', 1 << 30), ('M', 1 << 20), ('k', 1 << 10)];

fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix("iB").or_else(|| text.strip_suffix(['b', 'B'])).unwrap_or(text);
    let unit = UNITS.iter().find(|(unit, _)| text.to_ascii_lowercase().ends_with(unit.to_ascii_lowercase()));
    let (number, factor) = match unit {
        Some((_, factor)) => (text.get(..text.len() - 1)?, *factor),
        None => (text, 1),
    };
    let all_digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| all_digits)?.checked_mul(factor)
}

/// An amount of bytes with the largest unit that it is a whole number of.
fn exact(bytes: u64) -> String {
    match UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// An amount of bytes as a person reads it: at most one decimal.
pub fn human(bytes: u64) -> String {
    match UNITS.iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) if bytes.is_multiple_of(*factor) => format!("{}{unit}", bytes / factor),
        Some((unit, factor)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*factor);
            format!("{}.{}{unit}", tenths / 10, tenths % 10)
        }
        None => bytes.to_string(),
    }
}

macro_rules! as_text {
    ($($amount:ty),*) => {$(
        impl TryFrom<String> for $amount {
            type Error = BadAmount;

            fn try_from(text: String) -> Result<Self, BadAmount> {
                text.parse()
            }
        }

        impl From<$amount> for String {
            fn from(amount: $amount) -> Self {
                amount.to_string()
            }
        }
    )*};
}

as_text!(Cpu, Memory, Disk);

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(self.0))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(self.0))
    }
}

/// What one TPC may have. Nothing means: no limit of its own, only the cap over all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Of the processors.
    #[serde(default)]
    pub cpu: Cpu,
    /// Of the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Of the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
}

/// What somebody asks to have otherwise. What is not named stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Of the processors.
    pub cpu: Option<Cpu>,
    /// Of the memory.
    pub memory: Option<Memory>,
    /// Of the disk.
    pub disk: Option<Disk>,
}

impl Asked {
    /// The limits that come of it.
    pub fn over(self, now: Limits) -> Limits {
        Limits {
            cpu: self.cpu.unwrap_or(now.cpu),
            memory: self.memory.or(now.memory),
            disk: self.disk.or(now.disk),
        }
    }

    /// Whether anything is asked for.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// What there is to share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Processors.
    pub processors: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the partition that TPCs are on.
    pub disk: u64,
}

/// The most that all TPCs may have together, of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cap {
    /// Of the processors.
    pub cpu: Cpu,
    /// Of the memory.
    pub memory: Cpu,
    /// Of the partition. Saving them for another SONiC image needs as much again.
    pub disk: Cpu,
}

impl Default for Cap {
    fn default() -> Self {
        Self { cpu: Cpu(800), memory: Cpu(500), disk: Cpu(500) }
    }
}

impl Cap {
    /// Bytes of memory.
    pub fn memory_of(&self, machine: &Machine) -> u64 {
        share(self.memory, machine.memory)
    }

    /// Bytes of the partition.
    pub fn disk_of(&self, machine: &Machine) -> u64 {
        share(self.disk, machine.disk)
    }
}

fn share(of: Cpu, whole: u64) -> u64 {
    let share = u128::from(whole) * u128::from(of.0) / u128::from(Cpu::WHOLE);
    u64::try_from(share).unwrap_or(whole)
}

/// The defaults of one machine, from its file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// What a TPC gets if its installation does not say.
    pub limits: Limits,
    /// What all get together.
    pub cap: Cap,
    /// The cgroup that all are in, below the root of each hierarchy.
    pub cgroup: Option<String>,
    /// The seconds that a TPC must stay up after it was started, to count as good.
    pub stays_up: Option<u64>,
    /// The seconds that a hook may run.
    pub hook_time: Option<u64>,
}

/// Why a TPC is not let in: the sums.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} asks for {asked} of {what}, but {taken} of at most {cap} are reserved ({who}): ask for less with --{flag}, \
     or give less to another with: tpcm resources",
    asked = .sums.asked, taken = .sums.taken, cap = .sums.cap, who = .sums.who
)]
pub struct NotAdmitted {
    name: TpcName,
    what: &'static str,
    flag: &'static str,
    sums: Box<Sums>,
}

/// How much is asked for, what the others have, what there is for all, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sums {
    asked: String,
    taken: String,
    cap: String,
    who: String,
}

/// Whether these limits fit below the cap, beside what others have. `others` may contain the asker's own former ones.
pub fn admit(
    machine: &Machine,
    cap: &Cap,
    others: &[(TpcName, Limits)],
    name: &TpcName,
    asked: &Limits,
) -> Result<(), NotAdmitted> {
    let others: Vec<_> = others.iter().filter(|(other, _)| other != name).collect();
    let kinds: [Kind; 3] = [
        ("the processors", "cpu", u64::from(cap.cpu.0), percent, |limits| Some(u64::from(limits.cpu.0))),
        ("memory", "memory", cap.memory_of(machine), human, |limits| limits.memory.map(Memory::bytes)),
        ("disk", "disk", cap.disk_of(machine), human, |limits| limits.disk.map(Disk::bytes)),
    ];
    for (what, flag, cap, shown, of) in kinds {
        let Some(wanted) = of(asked) else { continue };
        let taken = others.iter().filter_map(|(_, limits)| of(limits)).fold(0_u64, u64::saturating_add);
        if taken.saturating_add(wanted) > cap {
            let who = who(others.iter().map(|(name, limits)| (name, of(limits).map(shown))));
            let sums = Sums { asked: shown(wanted), taken: shown(taken), cap: shown(cap), who };
            return Err(NotAdmitted { name: name.clone(), what, flag, sums: Box::new(sums) });
        }
    }
    Ok(())
}

/// What a TPC that is to run has been promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose.
    pub name: TpcName,
    /// How much.
    pub limits: Limits,
    /// When it was installed; two texts are in the order of their times.
    pub since: String,
    /// Whether it runs.
    pub runs: bool,
}

/// Whether a TPC may start, though it was let in once: the cap may have been lowered since. Those that run have theirs,
/// and of those that do not whoever was installed first, so that a boot, where all start at once, always ends in the
/// same way and never with none.
pub fn admit_start(
    machine: &Machine,
    cap: &Cap,
    others: &[Reservation],
    own: &Reservation,
) -> Result<(), NotAdmitted> {
    let is_before =
        |other: &&Reservation| other.runs || (&other.since, &other.name) < (&own.since, &own.name);
    let before: Vec<_> =
        others.iter().filter(is_before).map(|other| (other.name.clone(), other.limits)).collect();
    admit(machine, cap, &before, &own.name, &own.limits)
}

/// Something to be shared: what it is called, by which flag it is asked for, how much there is, how an amount is shown,
/// and how much of it limits name.
type Kind = (&'static str, &'static str, u64, fn(u64) -> String, fn(&Limits) -> Option<u64>);

fn who<'a>(parts: impl Iterator<Item = (&'a TpcName, Option<String>)>) -> String {
    let parts: Vec<_> = parts.filter_map(|(name, amount)| Some(format!("{name} {}", amount?))).collect();
    if parts.is_empty() { "by nobody yet".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests;
