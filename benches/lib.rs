//! Nothing to link: the benchmarks are in `benches/stages.rs`; `cargo bench -p whostalled-benches` runs them.
