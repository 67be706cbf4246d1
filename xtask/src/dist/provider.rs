//! The provider for EC2, handed out apart from the rest: static, too. In: `vantage-ec2`, a workspace of its own. Out: the program, what is in it,
//! their checksums; beside what `dist` makes, if that is there.
//!
//! Whether it works is tried by the provider's own suite (`make ec2-dist`).

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use super::{Release, binary, materials};
use crate::Found;

const NAME: &str = "whostalled-vantage-ec2";
const MANIFEST: &str = "vantage-ec2/Cargo.toml";
/// More is an SDK that has grown beyond what anybody expects.
const MOST_BYTES: u64 = 60_000_000;

pub(crate) fn make(shell: &Shell) -> Result<Found> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("packages are made on x86_64 alone: nothing else has been tried ({} here)", std::env::consts::ARCH);
    }
    let release = Release::of(shell)?;
    shell.create_dir(&release.folder)?;
    let (target, flags) = (binary::TARGET, binary::FLAGS);
    let cargo = cmd!(shell, "cargo build --locked --release --manifest-path {MANIFEST} --target {target} -p {NAME}");
    // Not the folder that this one's caller may have named for the main workspace.
    cargo.env("RUSTFLAGS", flags).env_remove("CARGO_TARGET_DIR").run()?;
    let built = shell.current_dir().join("vantage-ec2/target").join(target).join("release").join(NAME);
    let program = release.file(NAME);
    shell.remove_path(&program)?;
    shell.copy_file(&built, &program)?;
    binary::check(shell, &program, MOST_BYTES)?;
    let bill = materials::of_provider(shell, &release, NAME, MANIFEST)?;
    let files = [program, bill];
    let sums = super::sums(shell, &release, &files, &format!("{NAME}.sha256"))?;
    println!("\n{sums}");
    for file in &files {
        println!("{:>10} bytes  {}", std::fs::metadata(file)?.len(), file.display());
    }
    Ok(Found::Good)
}
