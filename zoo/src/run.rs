//! The recorder's command line: draws cases, records each, keeps what was done as planned.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;
use lab::scratch::Scratch;
use testing::Need;

use crate::error::{Failed, Why};
use crate::servers::{self, Helpers};
use crate::stacks::{Client, Server};
use crate::{case, certs, draw, pcap, prober_client, record, rustls_client, truth};

#[derive(Parser)]
#[command(about = "Records real TLS stacks with injected faults, and the truth")]
struct Options {
    /// Draws everything.
    #[arg(long)]
    seed: u64,
    /// How many cases to draw.
    #[arg(long, default_value_t = 100)]
    cases: usize,
    /// Handshakes a case.
    #[arg(long, default_value_t = 10)]
    handshakes: usize,
    /// Where the cases go.
    #[arg(long)]
    out: PathBuf,
    /// Only cases whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Where the helper programs' sources lie.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/stacks"))]
    stacks: PathBuf,
    /// Keep logs of cases that were dropped.
    #[arg(long)]
    keep_failed: bool,
}

/// What `main` does.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let done = match args.get(1).map(String::as_str) {
        Some(lab::exec::SUBCOMMAND) => become_program(&args),
        Some("prober") => prober_client::run(args.get(2).map_or("", String::as_str)),
        Some("client") => rustls_client::run(args.get(2).map_or("", String::as_str)),
        _ => run(&Options::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whostalled-zoo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn become_program(args: &[String]) -> Result<(), Failed> {
    let [_, _, placement, program, rest @ ..] = args else { return Err(Failed("no program to become".into())) };
    let placement: lab::exec::Placement = serde_json::from_str(placement).why("reading the placement")?;
    match placement.become_program(program, rest) {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}

fn run(options: &Options) -> Result<(), Failed> {
    lab::clean::clean();
    lab::rootless::enter()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop)).why("handling signals")?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).why("handling signals")?;
    }
    let scratch = Scratch::make()?;
    // Some servers become other users before they read.
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o711)).why("letting servers through")?;
    let certificates = scratch.path().join("pki");
    fastrand::seed(options.seed);
    certs::make(&certificates)?;
    let left_out = LeftOut::say();
    if Server::all().all(|s| left_out.servers.contains(&s)) {
        return Err(Failed("no server of any stack is installed".into()));
    }
    build(scratch.path(), &options.stacks, &left_out)?;
    std::fs::create_dir_all(&options.out).why("making the folder of cases")?;
    let helpers = Helpers { folder: scratch.path(), stacks: &options.stacks };
    let begun = Instant::now();
    let mut kept = BTreeMap::<char, usize>::new();
    let mut dropped = BTreeMap::<String, usize>::new();
    let drawn = (0..).map(|index| draw::case(options.seed, index, options.handshakes));
    for case in drawn.filter(|case| !left_out.has(case)).take(options.cases) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if options.only.as_ref().is_some_and(|o| !case.name.contains(o.as_str())) {
            continue;
        }
        let started = Instant::now();
        let work = scratch.path().join(&case.name);
        let result = one(&case, &options.out, &work, &certs::pki(&certificates, case.chain), &helpers);
        let took = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                *kept.entry(case.name.chars().next().unwrap_or('?')).or_default() += 1;
                eprintln!("{:6.1}s {:5.1}s kept    {}", begun.elapsed().as_secs_f64(), took, case.name);
            }
            Err(error) => {
                let short: String = error.0.split(':').next().unwrap_or("?").chars().take(60).collect();
                *dropped.entry(short).or_default() += 1;
                eprintln!("{:6.1}s {:5.1}s DROPPED {} ({}): {error}", begun.elapsed().as_secs_f64(), took, case.name, case.title);
                let folder = options.out.join(&case.name);
                let _ = std::fs::remove_dir_all(&folder);
                if options.keep_failed {
                    let _ =
                        Command::new("cp").arg("-r").arg(&work).arg(options.out.join(format!("failed-{}", case.name))).status();
                }
            }
        }
        let _ = std::fs::remove_dir_all(&work);
    }
    let summary = serde_json::json!({ "seed": options.seed, "kept": kept.iter().map(|(k, n)| (k.to_string(), *n)).collect::<BTreeMap<_, _>>(), "dropped": dropped });
    std::fs::write(options.out.join("summary.json"), format!("{summary:#}\n")).why("writing the summary")?;
    println!("{summary:#}");
    Ok(())
}

fn one(case: &case::Case, out: &Path, work: &Path, pki: &certs::Pki, helpers: &Helpers<'_>) -> Result<(), Failed> {
    let folder = out.join(&case.name);
    for place in [&folder, &work.to_path_buf()] {
        std::fs::create_dir_all(place).why("making a case's folder")?;
    }
    let logs = record::record(case, &folder, work, pki, helpers)?;
    let edited = case.edit.map(|e| pcap::edit(e, &folder, case.seed)).transpose()?.unwrap_or(serde_json::Value::Null);
    let truth = truth::truth(case, &logs, edited)?;
    servers::write(&folder.join("truth.json"), &format!("{truth:#}\n"))?;
    for name in ["client.pcap", "edge.pcap", "merged.pcap"] {
        let path = folder.join(name);
        if path.exists() {
            let done = Command::new("zstd").args(["-q", "-f", "--rm", "-6"]).arg(&path).status().why("starting zstd")?;
            if !done.success() {
                return Err(Failed("zstd failed".into()));
            }
        }
    }
    Ok(())
}

/// Stacks that are not installed here: cases with them are not recorded.
struct LeftOut {
    clients: Vec<Client>,
    servers: Vec<Server>,
}

impl LeftOut {
    /// Looks for every stack; says which are left out, and fails where all are required (`WHOSTALLED_REQUIRE=stacks`).
    fn say() -> Self {
        let clients: Vec<Client> = Client::all().filter(|c| c.missing().is_some()).collect();
        let servers: Vec<Server> = Server::all().filter(|s| s.missing().is_some()).collect();
        let programs: BTreeSet<&str> =
            clients.iter().filter_map(|c| c.missing()).chain(servers.iter().filter_map(|s| s.missing())).collect();
        if !programs.is_empty() {
            let programs = programs.into_iter().collect::<Vec<_>>().join(", ");
            testing::skipped(Need::Stacks, format_args!("cases of stacks that are not installed here ({programs})"));
        }
        Self { clients, servers }
    }

    fn has(&self, case: &case::Case) -> bool {
        self.clients.contains(&case.client) || self.servers.contains(&case.server)
    }
}

/// Builds the helpers that are not scripts.
fn build(folder: &Path, stacks: &Path, left_out: &LeftOut) -> Result<(), Failed> {
    let source = |name: &str| stacks.join(name).display().to_string();
    let target = |name: &str| folder.join(name).display().to_string();
    let steps: [(&str, Vec<String>); 4] = [
        (
            "gcc",
            vec![
                "-shared".into(),
                "-fPIC".into(),
                "-O1".into(),
                "-o".into(),
                target("stall.so"),
                source("stall.c"),
                "-ldl".into(),
            ],
        ),
        ("go", vec!["build".into(), "-o".into(), target("go-client"), source("client.go")]),
        ("go", vec!["build".into(), "-o".into(), target("go-server"), source("server.go")]),
        ("javac", vec!["-d".into(), target("java"), source("Client.java")]),
    ];
    let wanted = |program: &str| match program {
        "go" => !left_out.clients.contains(&Client::Go),
        "javac" => !left_out.clients.contains(&Client::Java),
        _ => true,
    };
    for (program, args) in steps.into_iter().filter(|(program, _)| wanted(program)) {
        let output = Command::new(program).args(&args).env("GO111MODULE", "off").env("GOFLAGS", "").output();
        let output = output.why(format!("starting {program}"))?;
        if !output.status.success() {
            return Err(Failed(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim())));
        }
    }
    if !left_out.servers.contains(&Server::Postgres) {
        servers::postgres::template(folder)?;
    }
    Ok(())
}
