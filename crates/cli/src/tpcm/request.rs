//! What was typed about a source and a container, as the values that operations take.

use std::path::Path;

use switchyard_core::FeatureName;
use switchyard_core::tpc::{Protocol, Secret, Source, SshOptions};
use switchyard_tpc::fetch::{self, Sha256};
use switchyard_tpc::ops::{Options, SourceRequest};

use super::args::{self, From, Make};
use super::password;
use crate::error::CliError;

/// Where the image comes from, without the password.
pub(super) fn source(from: &From) -> Result<SourceRequest, CliError> {
    let bad = |error: &dyn std::fmt::Display| CliError::Usage(error.to_string());
    let options = SshOptions {
        protocol: from.protocol.map(|protocol| match protocol {
            args::Protocol::Scp => Protocol::Scp,
            args::Protocol::Sftp => Protocol::Sftp,
        }),
        server: from.server.clone(),
        port: from.port,
        username: from.username.clone(),
    };
    let source = Source::parse(&from.source, &options).map_err(|error| bad(&error))?;
    if matches!(source, Source::Registry(_)) {
        let text = &from.source;
        if Path::new(text).exists() {
            return Err(bad(&format!(
                "{text} is the name of an image, and there is a file {text} here: ./{text} is the file; if the image is \
                 meant, name its registry too, as in docker.io/library/{text}"
            )));
        }
        for (option, given) in [
            ("--interface", from.interface.is_some()),
            ("--ca", from.ca.is_some()),
            ("--insecure", from.insecure),
        ] {
            if given {
                return Err(bad(&format!(
                    "{option} does nothing for a registry, from which the engine fetches: leave it out; Docker takes \
                     authorities from /etc/docker/certs.d/<registry>/ca.crt, and insecure-registries and proxies from \
                     /etc/docker/daemon.json"
                )));
            }
        }
    }
    let here = std::env::current_dir().map_err(|source| CliError::File {
        action: "find",
        path: ".".into(),
        source,
    })?;
    let sha256 = from.sha256.as_deref().map(Sha256::parse).transpose().map_err(|error| bad(&error))?;
    let mut request = SourceRequest::new(source.absolute(&here.to_string_lossy()));
    request.sha256 = sha256;
    request.interface.clone_from(&from.interface);
    request.ca.clone_from(&from.ca);
    request.username.clone_from(&from.username);
    request.insecure = from.insecure;
    if let Some(known_hosts) = &from.known_hosts {
        request.known_hosts = vec![known_hosts.clone()];
    }
    request.login.keys = from.key.iter().cloned().collect();
    Ok(request)
}

/// With the password, asked for if it takes one: only now that it is known that the rest can be done.
pub(super) fn with_secret(mut request: SourceRequest, from: &From) -> Result<SourceRequest, CliError> {
    let needed = match &request.source {
        Source::Ssh(_) => from.key.is_none(),
        Source::Http(_) | Source::Registry(_) => from.username.is_some(),
        Source::Media(_) => false,
    };
    request.login.password = password::read(from, needed)?.map(Secret::new);
    if matches!(request.source, Source::Ssh(_)) && from.key.is_none() && request.login.password.is_none() {
        request.login.keys = fetch::default_keys();
    }
    Ok(request)
}

/// How the container is made. What was not typed is not said.
pub(super) fn options(make: &Make) -> Result<Options, CliError> {
    let feature = |name: &String| {
        FeatureName::parse(name)
            .map_err(|error| CliError::Usage(format!("--after: {error}; give it once for each feature")))
    };
    let after = make.after.iter().map(feature).collect::<Result<Vec<_>, _>>()?;
    Ok(Options {
        args: make.args.clone(),
        limits: super::asked(&make.limits)?,
        after: (!after.is_empty()).then_some(after),
        shared: make.no_shared.then_some(false),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::{Tpcm, TpcmVerb};
    use super::*;

    fn parsed(line: &str) -> Result<SourceRequest, CliError> {
        let args = Tpcm::try_parse_from(line.split(' ')).unwrap();
        let TpcmVerb::Install(install) = args.verb else { panic!("{line}") };
        source(&install.from)
    }

    #[test]
    fn an_image_that_has_the_name_of_a_file_here_is_not_guessed_at() {
        // Tests run in the directory of their crate.
        let error = parsed("tpcm install monitor src").unwrap_err();
        let CliError::Usage(text) = &error else { panic!("{error}") };
        assert!(text.contains("./src") && text.contains("docker.io/library/src"), "{text}");
        parsed("tpcm install monitor ./src").unwrap();
        parsed("tpcm install monitor docker.io/library/src").unwrap();
    }

    #[test]
    fn what_a_container_starts_after_are_features_and_nothing_else() {
        let options = |after: &str| {
            let line = ["tpcm", "install", "monitor", "http://host/i", "--after", "swss", "--after", after];
            let TpcmVerb::Install(install) = Tpcm::try_parse_from(line).unwrap().verb else { panic!() };
            options(&install.make)
        };
        for bad in ["snmp.service", "snmp,bgp", "snmp bgp", "", "snmp\nExecStartPre=/bin/sh"] {
            let error = options(bad).unwrap_err();
            let CliError::Usage(text) = &error else { panic!("{bad:?}: {error}") };
            assert!(text.starts_with("--after: feature name") && !text.contains('\n'), "{text}");
        }
        let after = options("snmp").unwrap().after.unwrap();
        assert_eq!(after.iter().map(FeatureName::as_str).collect::<Vec<_>>(), ["swss", "snmp"]);
    }

    #[test]
    fn options_that_a_registry_has_no_use_for_are_refused() {
        for option in ["--interface=eth0", "--ca=/ca.pem", "--insecure"] {
            let error = parsed(&format!("tpcm install monitor registry.example/a:1 {option}")).unwrap_err();
            let name = option.split('=').next().unwrap();
            assert!(matches!(&error, CliError::Usage(text) if text.starts_with(name)), "{error}");
            parsed(&format!("tpcm install monitor https://host/a.tar {option}")).unwrap();
        }
        parsed("tpcm install monitor registry.example/a:1 --username me").unwrap();
    }
}
