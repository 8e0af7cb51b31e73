//! `config kubernetes …`: which server this switch joins, and what its node is to be labelled with. The agent hears of
//! it from the rows.

use switchyard_core::CaPin;
use switchyard_sonic::{Credentials, Label, Paths, ServerHost, Switch, parse_port};

use switchyard_agent::saved_credential;
use switchyard_cluster::Credential;

use super::args::{CertificateSource, KubernetesVerb, LabelVerb, ServerVerb, TokenSource};
use super::membership;
use super::token;
use crate::click::Stop;

/// Carries out one verb.
pub(super) fn run(verb: &KubernetesVerb) -> Result<(), Stop> {
    match verb {
        KubernetesVerb::Server { verb } => server(verb),
        KubernetesVerb::Label { verb } => label(verb),
        KubernetesVerb::Join { timeout } => membership::join(*timeout),
        KubernetesVerb::Reset { force, timeout } => membership::reset(*force, *timeout),
    }
}

fn server(verb: &ServerVerb) -> Result<(), Stop> {
    match verb {
        ServerVerb::Ip { address } => {
            let host = ServerHost::parse(address).map_err(|error| Stop::refused(&error))?;
            set("ip", host.as_str())
        }
        ServerVerb::Port { port } => {
            set("port", &parse_port(port).map_err(|error| Stop::refused(&error))?.to_string())
        }
        ServerVerb::Insecure { insecure } => set("insecure", python(insecure)),
        ServerVerb::Disable { disable, force } => {
            if disable == "on" {
                membership::check_disable(*force)?;
            }
            set("disable", python(disable))
        }
        ServerVerb::Token(source) => set_token(source),
        ServerVerb::ClientCertificate(source) => set_certificate(source),
        ServerVerb::CaPin { pin } => set_pin(pin),
    }
}

/// Writes one field of the server's row.
pub(super) fn set(field: &str, value: &str) -> Result<(), Stop> {
    Switch::open(Paths::from_env())?.set_server_field(field, value)?;
    Ok(())
}

/// A boolean as SONiC's `config` writes it.
fn python(word: &str) -> &'static str {
    if word == "on" { "True" } else { "False" }
}

fn set_token(source: &TokenSource) -> Result<(), Stop> {
    let credentials = Credentials::of(&Paths::from_env());
    if source.remove {
        credentials.remove_token()?;
    } else {
        credentials.set_token(&token::read(source)?)?;
        saved_credential().forget_certificate().map_err(|error| Stop::refused(&error))?;
    }
    tell_agent()
}

fn set_certificate(source: &CertificateSource) -> Result<(), Stop> {
    let saved = saved_credential();
    match &source.certificate {
        None => saved.forget_certificate().map(drop),
        Some(certificate) => {
            let certificate = token::read_certificate(certificate, source.key.as_deref())?;
            saved.save(&Credential::Certificate(certificate))
        }
    }
    .map_err(|error| Stop::refused(&error))?;
    tell_agent()
}

fn set_pin(pin: &str) -> Result<(), Stop> {
    let credentials = Credentials::of(&Paths::from_env());
    if pin == "none" {
        credentials.remove_ca_pin()?;
    } else {
        credentials.set_ca_pin(&CaPin::parse(pin).map_err(|error| Stop::refused(&error))?)?;
    }
    tell_agent()
}

/// The agent listens to the server's row alone.
fn tell_agent() -> Result<(), Stop> {
    Switch::open(Paths::from_env())?.announce_server()?;
    Ok(())
}

fn label(verb: &LabelVerb) -> Result<(), Stop> {
    let mut switch = Switch::open(Paths::from_env())?;
    match verb {
        LabelVerb::Add { key, value } => {
            switch.add_label(&Label::parse(key, value).map_err(|error| Stop::refused(&error))?)?;
        }
        LabelVerb::Drop { key } => {
            switch.drop_label(key)?;
        }
    }
    Ok(())
}
