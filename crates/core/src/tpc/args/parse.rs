//! From words to values: which flag a word is, where its value stands, and what it sets.

use super::flags::{Flag, refusal};
use super::values::{self, bad};
use super::{ArgsError, CreateArgs, clip};

/// Takes all words.
pub(super) fn all(words: Vec<String>) -> Result<CreateArgs, ArgsError> {
    let mut args = CreateArgs::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            args.command = words.collect();
            break;
        }
        let (flag, attached) = split(&word)?;
        if flag.is_switch() {
            set_switch(&mut args, flag, attached.as_deref())?;
            continue;
        }
        let value = match attached {
            Some(value) => value,
            None => words.next().ok_or_else(|| ArgsError::NoValue(clip(&word)))?,
        };
        set(&mut args, flag, value)?;
    }
    Ok(args)
}

/// The flag that a word is, and the value that is part of the word: `--flag=value`, `-fvalue`, `-f=value`.
fn split(word: &str) -> Result<(Flag, Option<String>), ArgsError> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) if word.starts_with("--") => (name, Some(value)),
        _ if word.starts_with("--") => (word, None),
        _ => match word.char_indices().nth(2) {
            Some((end, _)) if word.starts_with('-') => {
                let value = &word[end..];
                (&word[..end], Some(value.strip_prefix('=').unwrap_or(value)))
            }
            _ => (word, None),
        },
    };
    if let Some(flag) = Flag::by_name(name) {
        return Ok((flag, value.map(ToOwned::to_owned)));
    }
    if let Some(why) = refusal(name) {
        return Err(ArgsError::Refused { flag: name.to_owned(), why });
    }
    if name.len() > 1 && name.starts_with('-') {
        return Err(ArgsError::Unknown(clip(name)));
    }
    Err(ArgsError::Stray(clip(word)))
}

fn set_switch(args: &mut CreateArgs, flag: Flag, value: Option<&str>) -> Result<(), ArgsError> {
    let on = match value {
        None | Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(other) => {
            return Err(bad(flag, other, "it is written without a value, or with =true or =false"));
        }
    };
    match flag {
        Flag::Init => args.init = on,
        Flag::NoHealthcheck => args.no_healthcheck = on,
        Flag::Privileged => args.privileged = on,
        _ => args.read_only = on,
    }
    Ok(())
}

fn set(args: &mut CreateArgs, flag: Flag, value: String) -> Result<(), ArgsError> {
    match flag {
        Flag::AddHost => args.add_host.push(values::host_entry(flag, &value)?),
        Flag::CapAdd => args.cap_add.push(values::capability(flag, &value)?),
        Flag::CapDrop => args.cap_drop.push(values::capability(flag, &value)?),
        Flag::Device => args.devices.push(values::device(flag, &value)?),
        Flag::Dns => args.dns.push(values::address(flag, &value)?),
        Flag::DnsOption => args.dns_option.push(values::plain(flag, value)?),
        Flag::DnsSearch => args.dns_search.push(values::plain(flag, value)?),
        Flag::Env => args.env.push(values::env(flag, value)?),
        Flag::GroupAdd => args.group_add.push(values::plain(flag, value)?),
        Flag::Label => {
            let (name, value) = values::label(flag, &value)?;
            args.labels.insert(name, value);
        }
        Flag::LogOpt => {
            let (name, value) = values::pair(flag, &value)?;
            args.log_opts.insert(name, value);
        }
        Flag::Sysctl => {
            let (name, value) = values::pair(flag, &value)?;
            args.sysctls.insert(name, value);
        }
        Flag::Mount => args.mounts.push(values::mount(flag, &value)?),
        Flag::Volume => args.mounts.push(values::volume(flag, &value)?),
        Flag::Publish => args.ports.extend(values::ports(flag, &value)?),
        Flag::SecurityOpt => args.security_opt.push(values::security(flag, value)?),
        Flag::Tmpfs => args.tmpfs.push(values::tmpfs(flag, &value)?),
        Flag::Ulimit => args.ulimits.push(values::ulimit(flag, &value)?),
        Flag::Cgroupns => once(&mut args.cgroupns, flag, values::one_of(flag, value, &["host", "private"])?)?,
        Flag::Ipc => {
            let modes = ["host", "private", "shareable", "none", "container:"];
            once(&mut args.ipc, flag, values::one_of(flag, value, &modes)?)?;
        }
        Flag::Pid => once(&mut args.pid, flag, values::one_of(flag, value, &["host", "container:"])?)?,
        Flag::Userns => once(&mut args.userns, flag, values::one_of(flag, value, &["host"])?)?,
        Flag::Uts => once(&mut args.uts, flag, values::one_of(flag, value, &["host"])?)?,
        Flag::Network => once(&mut args.network, flag, values::plain(flag, value)?)?,
        Flag::Entrypoint => once(&mut args.entrypoint, flag, value)?,
        Flag::Hostname => once(&mut args.hostname, flag, values::hostname(flag, value)?)?,
        Flag::LogDriver => once(&mut args.log_driver, flag, values::plain(flag, value)?)?,
        Flag::ShmSize => once(&mut args.shm_size, flag, values::size(flag, &value)?)?,
        Flag::StopSignal => once(&mut args.stop_signal, flag, values::signal(flag, value)?)?,
        Flag::StopTimeout => once(&mut args.stop_timeout, flag, values::seconds(flag, &value)?)?,
        Flag::User => once(&mut args.user, flag, values::plain(flag, value)?)?,
        Flag::Workdir => once(&mut args.workdir, flag, values::absolute(flag, &value)?)?,
        // Set above; they have no value.
        Flag::Init | Flag::NoHealthcheck | Flag::Privileged | Flag::ReadOnly => {}
    }
    Ok(())
}

/// A second value would silently win over the first.
fn once<T>(place: &mut Option<T>, flag: Flag, value: T) -> Result<(), ArgsError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ArgsError::Twice(flag.name())),
    }
}
