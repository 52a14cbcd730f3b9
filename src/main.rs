//! The `regprov` program.
fn main() {}
