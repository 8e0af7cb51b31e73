//! `lab-payload run <feature>` in a feature container, `lab-payload send <instance> <command…>` on the switch, and
//! `lab-payload pause` as the container that holds a pod's namespaces.

use std::process::ExitCode;

use switchyard_lab_parts::payload;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("run") if args.len() == 2 => payload::run(&args[1]),
        Some("send") if args.len() > 2 => payload::send(&args[1], &args[2..].join(" ")),
        Some("pause") if args.len() == 1 => payload::pause(),
        _ => {
            eprintln!(
                "usage: lab-payload run <feature> | lab-payload send <instance> <command…> | lab-payload pause"
            );
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("lab-payload: {error:#}");
        ExitCode::FAILURE
    })
}
