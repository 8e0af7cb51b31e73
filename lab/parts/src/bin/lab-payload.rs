//! `lab-payload run <feature>` in a feature container, `lab-payload send <instance> <command…>` on the switch,
//! `lab-payload pause` as the container that holds a pod's namespaces, and `lab-payload startup <feature> <owner> <version>`
//! as the start-up call of an image as SONiC ships it.

use std::process::ExitCode;

use switchyard_lab_parts::{payload, startup};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("run") if args.len() == 2 => payload::run(&args[1]),
        Some("send") if args.len() > 2 => payload::send(&args[1], &args[2..].join(" ")),
        Some("startup") if args.len() == 4 => {
            startup::ask(&args[1], &args[2], &args[3]).map(|()| ExitCode::SUCCESS)
        }
        Some("pause") if args.len() == 1 => payload::pause(),
        _ => {
            eprintln!(
                "usage: lab-payload run <feature> | lab-payload send <instance> <command…> | lab-payload pause \
                 | lab-payload startup <feature> <owner> <version>"
            );
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("lab-payload: {error:#}");
        ExitCode::FAILURE
    })
}
