//! What the build script says where something is missing. In: the script, compiled by the compiler that compiles this, and a linker that
//! finds no library. Out: its words.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with the script and with programs that it finds.
struct Host {
    folder: PathBuf,
}

impl Host {
    /// One whose linker finds nothing whose name is in `lacks`.
    fn lacking(name: &str, lacks: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder of our own");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
        let compiled = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(folder.join("script")).arg(source).status();
        assert!(compiled.expect("rustc runs").success());
        let host = Self { folder };
        host.program("cc", &format!("for word; do case \"$word\" in {lacks}) exit 1;; esac; done"));
        host
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a folder of our own");
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("our own");
    }

    fn build(&self, features: &[&str]) -> Output {
        let mut script = Command::new(self.folder.join("script"));
        script.env_clear().env("PATH", &self.folder).env("OUT_DIR", &self.folder);
        script.envs(features.iter().map(|feature| (format!("CARGO_FEATURE_{feature}"), "1")));
        script.output().expect("it runs")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn missing_libraries_are_named_with_the_command_that_installs_them() {
    let host = Host::lacking("none", "-lpcap|-lsqlite3");
    host.program("clang", "");
    let both = host.build(&["LIBPCAP", "SQLITE"]);
    let said = text(&both.stderr);
    assert!(!both.status.success() && said.contains("apt-get install libpcap-dev libsqlite3-dev"), "{said}");
    let one = host.build(&["LIBPCAP", "SQLITE", "BUNDLED_SQLITE"]);
    let said = text(&one.stderr);
    assert!(!one.status.success() && said.contains("apt-get install libpcap-dev\n"), "{said}");
    assert!(host.build(&[]).status.success(), "what asks for nothing needs nothing");
}

#[test]
fn what_is_there_is_not_complained_of() {
    let host = Host::lacking("all", "none");
    host.program("clang", "");
    let built = host.build(&["LIBPCAP", "SQLITE"]);
    assert!(built.status.success() && built.stderr.is_empty(), "{}", text(&built.stderr));
    assert!(!text(&built.stdout).contains("cargo:warning"), "{}", text(&built.stdout));
}

#[test]
fn a_missing_clang_is_a_warning_and_its_coming_is_noticed() {
    let host = Host::lacking("no-clang", "none");
    let built = host.build(&["LIBPCAP"]);
    let said = text(&built.stdout);
    assert!(
        built.status.success() && said.contains("cargo:warning=clang is missing") && said.contains("apt-get install clang"),
        "{said}"
    );
    let watched = format!("cargo:rerun-if-changed={}", host.folder.display());
    assert!(said.lines().any(|line| line == watched), "the folder into which it may be installed: {said}");
}
