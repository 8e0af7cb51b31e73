//! What names of users, variables, images, units and options may look like, and which are taken.

/// `docker create` options that would take away from systemd or the script what they rely on.
pub(crate) const RESERVED_OPTIONS: [(&str, &str); 6] = [
    ("--name", "the name is the feature's, with the number of its ASIC"),
    ("--restart", "systemd decides about restarts"),
    ("--rm", "the container is kept from one start to the next"),
    ("--net", "use the key container.network"),
    ("--network", "use the key container.network"),
    ("--cidfile", "the container is found by its name"),
];
/// Variables that every SONiC container gets from the script.
pub(crate) const RESERVED_VARIABLES: [&str; 8] = [
    "RUNTIME_OWNER",
    "NAMESPACE_ID",
    "NAMESPACE_PREFIX",
    "NAMESPACE_COUNT",
    "DEV",
    "CONTAINER_NAME",
    "SYSLOG_TARGET_IP",
    "PLATFORM",
];
/// Kinds of units that a feature may depend on; a name without one of these endings is a service.
pub(crate) const UNIT_KINDS: [&str; 7] =
    [".service", ".target", ".socket", ".mount", ".timer", ".path", ".slice"];

pub(crate) fn is_user(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
}

pub(crate) fn is_variable(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub(crate) fn is_reference(text: &str) -> bool {
    text.len() <= 256
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@'))
}

pub(crate) fn is_unit_base(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
