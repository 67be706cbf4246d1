//! A vantage over the user's own ssh: the program is copied there, answers over ssh's pipes, and is removed afterwards.
//!
//! Host names, keys, jump hosts and session managers are what ssh's own configuration says (ssh_config(5), ProxyCommand); nothing of it is
//! known here. The other side needs a shell and no right of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::{Error, Leave, Remote};

/// How long a copy may take: a release is tens of megabytes.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long one try to reach a host that is starting may take, and how long it is until the next.
const TRY: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(2);
/// Where copies lie over there.
const FOLDER: &str = "${XDG_CACHE_HOME:-$HOME/.cache}/whostalled";

/// Names the program that is copied, instead of our own.
const NAMED: &str = "WHOSTALLED_STATIC";
/// Such a program, beside our own.
const BESIDE: &str = "whostalled-static";
/// What a dynamic linker says where a library, or a glibc as new as ours, is missing.
const UNLINKED: [&str; 3] = ["error while loading shared libraries", "version `GLIBC", "not found (required by"];

/// Another host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ssh {
    /// What ssh is to be given: a host, `user@host`, or a name of its configuration.
    pub host: String,
    /// Leave the program there for the next time.
    pub keep: bool,
    /// What it may do there.
    pub leave: Leave,
}

impl Ssh {
    /// Connects, as the vantage `name`.
    ///
    /// # Errors
    /// If the host cannot be reached, is another kind of machine, or does not take the program; if `stop` is set.
    pub fn connect(&self, name: &str, stop: &AtomicBool) -> Result<Remote, Error> {
        let gone = |what: String| Error::Gone { vantage: name.to_owned(), what };
        self.is_a_host(name)?;
        let own = std::env::current_exe().map_err(lab::Error::system("finding our own binary"))?;
        let own = to_copy(std::env::var_os(NAMED), own, cfg!(target_feature = "crt-static"));
        let read = || lab::Error::system(format!("reading {}", own.display()));
        let hash = hash_of(&own).map_err(read())?;
        let kept = format!("{FOLDER}/{hash}");
        let asked = self.run(&format!("uname -sm; test -x \"{kept}\" && echo kept"), Stdio::null(), PATIENCE, stop);
        let said = asked.map_err(|why| why.of(name))?;
        let mut lines = said.lines();
        let (machine, ours) = (lines.next().unwrap_or_default(), machine_of(&own).map_err(read())?);
        if machine != ours {
            let remedy = format!("name a program for it by {NAMED}");
            return Err(gone(format!("is a {machine:?} machine, and this program is built for {ours:?}: {remedy}")));
        }
        let (program, afterwards) = if lines.next() == Some("kept") {
            (kept, String::new())
        } else {
            let program = if self.keep { kept } else { format!("{kept}-{}", std::process::id()) };
            let binary = File::open(&own).map_err(read())?;
            let take = format!(
                "umask 077; find \"{FOLDER}\" -name '*-*' -mtime +1 -delete 2>/dev/null; mkdir -p \"{FOLDER}\" && cat > \"{program}.new\" && chmod 700 \"{program}.new\" && mv \"{program}.new\" \"{program}\""
            );
            self.run(&take, binary.into(), PATIENCE, stop).map_err(|why| why.of(name))?;
            let remove = format!("rm -f \"{program}\"; rmdir \"{FOLDER}\" 2>/dev/null");
            (program, if self.keep { String::new() } else { remove })
        };
        let load = if self.leave.load { " --allow-load" } else { "" };
        let capture = if self.leave.capture { "" } else { " --no-capture" };
        // Where the connection breaks, the agent's questions end, it takes down what it set, and the shell goes on to the last command.
        let script = format!(
            "trap '' HUP; \"{program}\" agent --stdio{load}{capture}; code=$?; {afterwards}{}exit $code",
            separator(&afterwards)
        );
        let mut command = self.command();
        command.arg(script);
        Remote::start(name, command, stop).map_err(with_remedy)
    }

    /// Waits until a host that is starting lets us in.
    ///
    /// # Errors
    /// How it last refused, if it does not within `patience`; if `stop` is set.
    pub fn await_host(&self, name: &str, patience: Duration, stop: &AtomicBool) -> Result<(), Error> {
        self.is_a_host(name)?;
        let until = Instant::now() + patience;
        loop {
            match self.run("true", Stdio::null(), TRY, stop) {
                Ok(_) => return Ok(()),
                Err(Why::Said(_)) if Instant::now() + AGAIN < until => {}
                Err(why) => return Err(why.of(name)),
            }
            let again = Instant::now() + AGAIN;
            while Instant::now() < again {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn is_a_host(&self, name: &str) -> Result<(), Error> {
        if !self.host.starts_with('-') && !self.host.is_empty() {
            return Ok(());
        }
        let what = format!("has no host that ssh could be given: {:?}", self.host);
        Err(Error::Gone { vantage: name.to_owned(), what })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "--"]).arg(&self.host);
        command
    }

    /// Runs a script there; what it said.
    fn run(&self, script: &str, input: Stdio, patience: Duration, stop: &AtomicBool) -> Result<String, Why> {
        let mut command = self.command();
        command.arg(script).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|e| Why::Said(format!("cannot be reached: starting ssh: {e} (apt-get install openssh-client)")))?;
        let out = reader(child.stdout.take());
        let err = reader(child.stderr.take());
        let status = wait(&mut child, patience, stop)?;
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        if status.success() || !out.trim().is_empty() && status.code() == Some(1) {
            return Ok(out);
        }
        let last = err.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        Err(Why::Said(format!("cannot be reached: ssh {}: {last} ({status})", self.host)))
    }
}

/// Why a script did not run.
enum Why {
    Said(String),
    Interrupted,
}

impl Why {
    fn of(self, name: &str) -> Error {
        match self {
            Why::Said(what) => Error::Gone { vantage: name.to_owned(), what },
            Why::Interrupted => Error::Interrupted,
        }
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, patience: Duration, stop: &AtomicBool) -> Result<std::process::ExitStatus, Why> {
    let deadline = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if stop.load(Ordering::Relaxed) || Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(if stop.load(Ordering::Relaxed) {
                    Why::Interrupted
                } else {
                    Why::Said(format!("did not do over ssh what was asked within {} s", patience.as_secs()))
                });
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(e) => return Err(Why::Said(format!("cannot be waited for: {e}"))),
        }
    }
}

fn separator(afterwards: &str) -> &'static str {
    if afterwards.is_empty() { "" } else { "; " }
}

/// The program to copy: the one that is named; else our own, but that a static one beside it goes before a dynamic one of ours, which needs
/// the other host's libraries.
fn to_copy(named: Option<OsString>, own: PathBuf, is_static: bool) -> PathBuf {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return named.into();
    }
    let beside = own.with_file_name(BESIDE);
    if !is_static && beside.is_file() { beside } else { own }
}

/// What a program is built for, as `uname -sm` writes it: by its ELF header (elf(5), `e_machine`).
fn machine_of(program: &Path) -> std::io::Result<String> {
    let mut header = [0; 20];
    File::open(program)?.read_exact(&mut header)?;
    let machine = match (&header[..4], u16::from_le_bytes([header[18], header[19]])) {
        (b"\x7fELF", 62) => "x86_64",
        (b"\x7fELF", 183) => "aarch64",
        _ => return Err(std::io::Error::other("it is no program for x86_64 or aarch64")),
    };
    Ok(format!("Linux {machine}"))
}

/// Says what to do where the program could not be linked over there.
fn with_remedy(error: Error) -> Error {
    match error {
        Error::Gone { vantage, what } if UNLINKED.iter().any(|words| what.contains(words)) => {
            let remedy = format!(
                "that host lacks what this build is linked with, and a static build needs nothing of it: \
                 make dist, then {NAMED}=target/packages/whostalled-{}-x86_64-linux",
                env!("CARGO_PKG_VERSION")
            );
            Error::Gone { vantage, what: format!("{what} ({remedy})") }
        }
        other => other,
    }
}

/// The beginning of a file's SHA-256, in hexadecimal.
fn hash_of(path: &Path) -> std::io::Result<String> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => context.update(&buffer[..n]),
        }
    }
    Ok(context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_goes_before_a_dynamic_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (own, beside) = (folder.path().join("whostalled"), folder.path().join(BESIDE));
        assert_eq!(to_copy(None, own.clone(), false), own, "there is no other");
        std::fs::write(&beside, "").expect("our own folder");
        assert_eq!(to_copy(None, own.clone(), false), beside);
        assert_eq!(to_copy(None, own.clone(), true), own, "ours is static");
        assert_eq!(to_copy(Some("/other".into()), own.clone(), true), Path::new("/other"));
        assert_eq!(to_copy(Some("".into()), own.clone(), true), own, "an empty name names nothing");
    }

    #[test]
    fn a_program_says_what_it_is_built_for() {
        let own = std::env::current_exe().expect("it runs");
        assert_eq!(machine_of(&own).expect("it is a program"), format!("Linux {}", std::env::consts::ARCH));
        assert!(machine_of(Path::new("/etc/passwd")).is_err(), "a text is none");
    }

    #[test]
    fn a_host_without_our_libraries_is_said_what_to_do() {
        let gone = |what: &str| with_remedy(Error::Gone { vantage: "box".into(), what: what.into() }).to_string();
        let said =
            gone("is gone (exit status: 127): whostalled: error while loading shared libraries: libpcap.so.0.8: cannot open");
        assert!(said.contains("libpcap.so.0.8") && said.contains("make dist") && said.contains(NAMED), "{said}");
        assert!(!gone("is gone (exit status: 1)").contains("make dist"));
    }
}
