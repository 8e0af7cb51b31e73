//! The two scripts of a feature: `/usr/bin/<f>.sh` drives the container, `/usr/local/bin/<f>.sh` is what the unit calls
//! (SONIC.md 6.1 to 6.3). What they do is in `templates/`; here the description's values are put in, each quoted.

use std::fmt::Write;

use crate::description::Description;
use crate::files::sha256;
use crate::quote::{fill, shell, shell_with_dev};

/// So much of a digest tells two descriptions of one feature apart.
const SHORT_DIGEST: usize = 16;

/// The text of `/usr/bin/<f>.sh`.
pub(crate) fn control(description: &Description, header: &str) -> String {
    let container = match &description.image {
        Some(image) => create(description, image),
        None => include_str!("templates/kube-only.sh").to_owned(),
    };
    let dev_rule = if description.asic_scope {
        ""
    } else {
        "    ?*) fail 1 \"this feature has no container per ASIC\" ;;\n"
    };
    fill(
        include_str!("templates/control.sh"),
        &[
            ("HEADER", header),
            ("FEATURE", description.name.as_str()),
            ("STOP_TIMEOUT", &description.stop_timeout.to_string()),
            ("CONTAINER", container.trim_end()),
            ("HOOKS", hooks(description).trim_end()),
            ("DEV_RULE", dev_rule),
        ],
    )
}

/// The text of `/usr/local/bin/<f>.sh`.
pub(crate) fn service(description: &Description, header: &str) -> String {
    fill(include_str!("templates/service.sh"), &[("HEADER", header), ("FEATURE", description.name.as_str())])
}

fn create(description: &Description, image: &str) -> String {
    let environment =
        description.environment.iter().map(|(name, value)| ["-e".to_owned(), format!("{name}={value}")]);
    let volumes = description.volumes.iter().map(|volume| ["-v".to_owned(), volume.clone()]);
    let options: Vec<String> =
        description.arguments.iter().cloned().chain(environment.flatten()).chain(volumes.flatten()).collect();
    let options = words(&options);
    let command = words(&description.command);
    let network = network(description);
    let mut made_from = sha256([image, &options, &command, &network].join("\n").as_bytes());
    made_from.truncate(SHORT_DIGEST);
    fill(
        include_str!("templates/create.sh"),
        &[
            ("IMAGE", &shell(image)),
            ("OPTIONS", &options),
            ("COMMAND", &command),
            ("MADE_FROM", &made_from),
            ("NETWORK", &network),
        ],
    )
}

/// One word a line, so that a change of one value is one line of a diff.
fn words(texts: &[String]) -> String {
    texts.iter().fold(String::new(), |mut lines, text| {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "    {}", shell_with_dev(text));
        lines
    })
}

fn network(description: &Description) -> String {
    let fixed = description.network.as_deref().map(shell);
    match (fixed, description.asic_scope) {
        (Some(network), _) => format!("    options+=(--net {network})"),
        (None, false) => "    options+=(--net host)".to_owned(),
        // The namespace of an ASIC is the one that its database container holds open.
        (None, true) => "    options+=(--net \"${DEV:+container:database}${DEV:-host}\")".to_owned(),
    }
}

fn hooks(description: &Description) -> String {
    let function = |name: &str, lines: &[String]| {
        let body = lines.iter().fold(String::new(), |mut body, line| {
            let _ = writeln!(body, "    eval {} || return", shell(line));
            body
        });
        if body.is_empty() { format!("{name}() {{ :; }}\n") } else { format!("{name}() {{\n{body}}}\n") }
    };
    function("pre_start", &description.pre_start) + &function("post_start", &description.post_start)
}
