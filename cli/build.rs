//! How this binary is built, for `--version`: what only a build script is told.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    // …/target/[TRIPLE/]FOLDER/build/NAME/out: FOLDER is the profile's name, but for `dev`'s, which is `debug`. `PROFILE` knows two alone.
    let out = variable("OUT_DIR");
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name).and_then(|name| name.to_str());
    println!("cargo:rustc-env=WHOSTALLED_PROFILE={}", profile.unwrap_or("of unknown name"));
    println!("cargo:rustc-env=WHOSTALLED_TARGET={}", variable("TARGET"));
    let said = Command::new(variable("RUSTC")).arg("--version").output();
    let said = said.ok().filter(|said| said.status.success()).and_then(|said| String::from_utf8(said.stdout).ok());
    println!("cargo:rustc-env=WHOSTALLED_RUSTC={}", said.as_deref().map_or("rustc of unknown version", str::trim));
}
