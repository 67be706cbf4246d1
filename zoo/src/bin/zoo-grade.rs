//! `zoo-grade`: runs `whostalled explain` over recorded cases and compares with the truth.

fn main() -> std::process::ExitCode {
    whostalled_zoo::grade::main()
}
