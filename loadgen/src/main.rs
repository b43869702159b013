//! The program `loadgen`.

fn main() {}
