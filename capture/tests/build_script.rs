//! The build script of this crate, in a crate of its own with a compiler of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A compiler that makes empty files.
const CLANG: &str = "#!/bin/sh\nwhile [ $# -gt 1 ]; do if [ \"$1\" = -o ]; then out=$2; fi; shift; done\n: > \"$out\"\n";
const MAIN: &str = "fn main() { println!(\"{}\", cfg!(kernel_filter)); }";

struct Crate {
    folder: PathBuf,
    bin: PathBuf,
}

impl Crate {
    fn make() -> Self {
        let folder = std::env::temp_dir().join(format!("whostalled-build-{}", std::process::id()));
        let (own, bin) = (Path::new(env!("CARGO_MANIFEST_DIR")), folder.join("bin"));
        for part in ["src", "bpf", "bin"] {
            fs::create_dir_all(folder.join(part)).expect("it is writable");
        }
        fs::copy(own.join("build.rs"), folder.join("build.rs")).expect("it is there");
        fs::copy(own.join("src/tool.rs"), folder.join("src/tool.rs")).expect("it is there");
        fs::write(folder.join("src/main.rs"), MAIN).expect("it is writable");
        let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
        fs::write(folder.join("Cargo.toml"), manifest).expect("it is writable");
        for name in ["handshakes", "sockets"] {
            fs::write(folder.join(format!("bpf/{name}.bpf.c")), "").expect("it is writable");
        }
        Self { folder, bin }
    }

    /// Builds; whether the build script ran, and whether there is a filter in the kernel.
    fn build(&self) -> (bool, bool) {
        self.build_with("none")
    }

    /// The same with another folder in PATH.
    fn build_with(&self, other: &str) -> (bool, bool) {
        let wrapped = |program: &str| std::env::var_os(program).is_some_and(|w| !w.is_empty());
        assert!(!wrapped("RUSTC_WRAPPER"), "a wrapper may need more of PATH than this test leaves");
        let done = Command::new(env!("CARGO"))
            .args(["build", "--offline", "--verbose"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("PATH", format!("{}:{}", self.bin.display(), self.folder.join(other).display()))
            .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "/usr/bin/cc")
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "/usr/bin/cc")
            .env("RUSTFLAGS", "")
            .env("RUSTC", rustc())
            .env_remove("CLANG")
            .output()
            .expect("cargo starts");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        let ran = said.contains("build-script-build`");
        let out = Command::new(self.folder.join("target/debug/small")).output().expect("it was built");
        (ran, out.stdout == b"true\n")
    }
}

fn rustc() -> PathBuf {
    let said = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc starts").stdout;
    Path::new(String::from_utf8_lossy(&said).trim()).join("bin/rustc")
}

impl Drop for Crate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_compiler_that_is_installed_later_is_noticed_and_nothing_is_built_twice() {
    let small = Crate::make();
    // The linker calls these by name.
    for tool in ["cc", "ld", "as", "sh"] {
        let _ = std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), small.bin.join(tool));
    }
    assert_eq!(small.build(), (true, false), "there is no compiler");
    assert_eq!(small.build(), (false, false), "nothing changed");
    let clang = small.bin.join("clang");
    fs::write(&clang, CLANG).expect("it is writable");
    fs::set_permissions(&clang, fs::Permissions::from_mode(0o755)).expect("it is ours");
    // A package's files are as old as the package.
    let _ = Command::new("touch").args(["-d", "2020-01-01"]).arg(&clang).status();
    assert_eq!(small.build(), (true, true), "it is there now");
    assert_eq!(small.build(), (false, true), "nothing changed");
    fs::write(small.bin.join("another"), "").expect("it is writable");
    assert_eq!(small.build(), (false, true), "another program is nobody's business");
    assert_eq!(small.build_with("others"), (false, true), "nor is another PATH, while there is a compiler");
    fs::remove_file(&clang).expect("it is ours");
    assert_eq!(small.build(), (true, false), "it is gone");
}
