//! carnet
fn main() {}
