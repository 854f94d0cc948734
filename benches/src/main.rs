//! Where the benchmarks go: measures beside what a user would pick instead. There are none yet.

fn main() {}
