//! `whostalled-zoo`: records cases.

fn main() -> std::process::ExitCode {
    whostalled_zoo::run::main()
}
