//! featured.
fn main() {}
