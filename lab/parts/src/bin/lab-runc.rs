//! `runc`, on a machine that may not raise its own limits; see [`switchyard_lab_parts::runtime`].

use switchyard_lab_parts::runtime;

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    runtime::mend(&args)?;
    Err(runtime::exec_runc(&args))
}
