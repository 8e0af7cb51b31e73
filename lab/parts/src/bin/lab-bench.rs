//! Measures `container` inside a switch and prints the figures as JSON. See [`switchyard_lab_parts::bench`].

fn main() -> anyhow::Result<()> {
    println!("{:#}", switchyard_lab_parts::bench::run()?);
    Ok(())
}
