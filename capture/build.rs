//! Compiles the programs for the kernel. Without clang the build goes on, and `capture` filters in user space and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/tool.rs"]
mod tool;

const SOURCES: [&str; 2] = ["handshakes", "sockets"];

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-changed=src/tool.rs");
    println!("cargo:rerun-if-env-changed=CLANG");
    println!("cargo:rustc-check-cfg=cfg(kernel_filter)");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".into());
    // One that comes, goes or is replaced later is noticed. While there is one, another PATH (an editor's) is no reason to build anew.
    let watched = tool::to_watch(&clang, std::env::var_os("PATH").as_deref());
    let is_there = watched.iter().any(|place| place.is_file());
    if !is_there {
        println!("cargo:rerun-if-env-changed=PATH");
    }
    for place in watched {
        println!("cargo:rerun-if-changed={}", place.display());
    }
    match SOURCES.iter().try_for_each(|name| compile(&clang, name, &out)) {
        Ok(()) => println!("cargo:rustc-cfg=kernel_filter"),
        // `prerequisites` has said that there is none.
        Err(_) if !is_there => {}
        Err(why) => println!("cargo:warning=no in-kernel filter in this build: {why}"),
    }
}

fn compile(clang: &str, name: &str, out: &Path) -> Result<(), String> {
    let (source, object) = (format!("bpf/{name}.bpf.c"), out.join(format!("{name}.bpf.o")));
    let mut command = Command::new(clang);
    command.args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3", "-c", &source, "-o"]).arg(object);
    // Debian keeps <asm/types.h> below the name of the machine, which the target bpf does not look into.
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    command.arg(format!("-I/usr/include/{machine}-linux-gnu"));
    match command.output() {
        Err(error) => Err(format!("{clang}: {error} (install clang)")),
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!("{clang} failed: {}", String::from_utf8_lossy(&done.stderr))),
    }
}
