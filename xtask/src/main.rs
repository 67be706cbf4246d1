//! `cargo xtask TASK`: what make calls and three lines of shell cannot do. In: the task's name and its arguments, from anywhere in the
//! repository. Out: what it did, in words; the exit code is 1 if something failed and 2 if it could not be begun.
#![forbid(unsafe_code)]

mod bench;
mod cost;
mod dist;
mod evidence;
mod fuzz;
mod history;
mod install;
mod instructions;
mod library;
mod mutations;
mod scenarios;
mod suite;
mod tables;
mod tools;
mod tshark;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};
use xshell::Shell;

const HELP: &str = "\
cargo xtask TASK

  install-missing PURPOSE…       what is missing for demo, watch, fleet, capture, test, zoo, dist, by apt-get, and why
  scenarios FILE…                runs each scenario for real; void runs are run again
  suite NAME SECONDS [ARGUMENT…] a suite with real processes (e2e/tests); up to two tests that fail are run once more, and that is said
  run-again                      which tests had to be run once more
  check-evidence FOLDER…         do the evidence files of these runs open in tshark, with both ends joined?
  fuzz SECONDS [--keep]          every fuzz target; --keep adds what found new code to the corpus
  dist                           target/packages: a static binary, a Debian package, a container image, checksums, SBOM
  ec2-dist                       target/packages/whostalled-vantage-ec2: the provider for EC2, static, its checksum and SBOM
  build-cost                     CPU seconds of a fresh build and of linking again
  bench [ROUNDS]                 CPU seconds of explain beside cat and tshark
  library                        runs every scenario and incident and writes docs/library.html: verdicts and pictures
  tables PAGE…                   runs the commands that a page names, and writes what they print between their markers
  mutations [WORDS]              mistakes made in the core, one after another: which test notices each? WORDS choose some
  instructions [--write]         what a handshake, a line and a packet cost, beside what was written down
  history                        measures this commit by our benchmarks, adds it to benches/history.jsonl, writes docs/benchmarks.html
  kubernetes                     dist/kubernetes against the schemas of Kubernetes and of the Prometheus operator
  bench-against BINARY           the same beside another build of it
  tshark-truth CAPTURE…          how tshark reads captures, one CSV row a connection
  deny ARGUMENT…                 cargo-deny
  machete                        dependencies that nothing uses
  advisories                     known holes in what we depend on
  msrv                           checks with the oldest Rust that Cargo.toml promises
";

/// Whether everything that was looked at was as it must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Good,
    Bad,
}

impl Found {
    fn good_if(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(Found::Good) => ExitCode::SUCCESS,
        Ok(Found::Bad) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<Found> {
    let mut arguments = Parser::from_env();
    let Some(Arg::Value(task)) = arguments.next()? else {
        print!("{HELP}");
        return Ok(Found::Good);
    };
    let task = task.string()?;
    // Tools get their arguments as they are, options too.
    let rest: Vec<String> = arguments.raw_args()?.map(ValueExt::string).collect::<Result<_, _>>()?;
    let began_in = std::env::current_dir()?;
    let here = |path: &String| began_in.join(path);
    let shell = Shell::new()?;
    shell.change_dir(root());
    match (task.as_str(), rest.as_slice()) {
        ("install-missing", purposes @ [_, ..]) => install::missing(&shell, purposes),
        ("scenarios", files @ [_, ..]) => scenarios::run(&shell, &files.iter().map(here).collect::<Vec<_>>()),
        ("suite", [name, seconds, arguments @ ..]) => suite::run(&shell, name, seconds.parse().context("seconds")?, arguments),
        ("run-again", []) => suite::said(&shell),
        ("check-evidence", folders @ [_, ..]) => evidence::check(&shell, &folders.iter().map(here).collect::<Vec<_>>()),
        ("fuzz", [seconds]) => fuzz::run(&shell, seconds.parse().context("seconds")?, false),
        ("fuzz", [seconds, keep]) if keep == "--keep" => fuzz::run(&shell, seconds.parse().context("seconds")?, true),
        ("dist", []) => dist::make(&shell),
        ("ec2-dist", []) => dist::make_provider(&shell),
        ("build-cost", []) => cost::measure(&shell),
        ("bench", []) => bench::run(&shell, 9),
        ("bench", [rounds]) => bench::run(&shell, rounds.parse().context("rounds")?),
        ("instructions", []) => instructions::count(&shell, instructions::Then::Compare),
        ("instructions", [write]) if write == "--write" => instructions::count(&shell, instructions::Then::Keep),
        ("history", []) => history::measure(&shell),
        ("mutations", []) => mutations::run(&shell, ""),
        ("mutations", [words]) => mutations::run(&shell, words),
        ("tables", pages @ [_, ..]) => tables::write(&shell, &pages.iter().map(here).collect::<Vec<_>>()),
        ("library", []) => library::make(&shell),
        ("bench-against", [other]) => bench::against(&shell, 9, &here(other)),
        ("tshark-truth", captures @ [_, ..]) => tshark::truth(captures, &began_in),
        ("deny", arguments) => tools::deny(&shell, arguments),
        ("kubernetes", []) => tools::kubernetes(&shell),
        ("machete", []) => tools::machete(&shell),
        ("advisories", []) => tools::advisories(&shell),
        ("msrv", []) => tools::msrv(&shell),
        (task, _) => bail!("there is no task {task} with these arguments\n\n{HELP}"),
    }
}

/// The repository's folder.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or(own.clone(), PathBuf::from)
}

/// The binary that is tried: what `WHOSTALLED_BIN` names, else the release build.
fn binary() -> PathBuf {
    std::env::var_os("WHOSTALLED_BIN").map_or_else(|| root().join("target/release/whostalled"), PathBuf::from)
}

/// Says that something is skipped; bad where `WHOSTALLED_REQUIRE` names what is missing.
fn skipped(need: testing::Need, why: &str) -> Found {
    Found::good_if(testing::may_skip(need, why).is_ok())
}
