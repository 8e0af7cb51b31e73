//! Defects that are known and not mended yet: a history that meets one goes on and counts it. Whoever mends one takes
//! its line away here, and from then on it is a failure as any other. SWITCHYARD_STRICT=words does so for one run with
//! the lines that have these words.

use std::sync::LazyLock;

static STRICT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("SWITCHYARD_STRICT").ok());

/// Parts of complaints.
const KNOWN: &[&str] = &[
    // `Agent::look` puts the track back that `Agent::everything` has just let go.
    "was deleted long ago and is still looked at",
    // A unit that is off, with a label that may not be dropped (row gone, no time for it), is due at once for ever.
    "while all is quiet: wake-ups",
    // Runs that end with a pod count against systemd's start limit while its version is kept out.
    "systemd gave the unit up",
    // `ask` lets a pod run whose feature has no row in CONFIG_DB, whatever STATE_DB says of a local copy.
    "two payloads of a feature that was deleted",
    // An agent that starts after the deletion knows neither of the label nor of what runs: `instances` lists CONFIG_DB.
    "the label of a feature that was deleted is true",
    "the unit of a feature that was deleted is off and",
    // `care` takes a pod of which the cluster does not tell for a ready one: with the server away it goes native.
    "an image that was never ready goes native",
    // `frozen` sees no pod beside a local copy that bridges; and a `remote_container_id` that an earlier pod with our
    // gate left hides the question of a pod that does not write its own.
    "a pod of an unmodified image could",
];

pub(crate) fn is_known(complaint: &str) -> bool {
    let counts = |known: &&&str| STRICT.as_deref().is_none_or(|words| !known.contains(words));
    KNOWN.iter().filter(counts).any(|known| complaint.contains(known))
}
