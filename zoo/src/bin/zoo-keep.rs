//! `zoo-keep`: makes a small recording to be kept from a large one.

fn main() -> std::process::ExitCode {
    whostalled_zoo::keep::main()
}
