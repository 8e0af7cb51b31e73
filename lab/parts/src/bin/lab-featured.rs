//! The stand-in for SONiC's `featured`; see [`switchyard_lab_parts::featured`].

use switchyard_lab_parts::featured;

fn main() -> anyhow::Result<()> {
    featured::run(&featured::Options::from_args(std::env::args().skip(1))?)
}
