//! A vantage over the user's own ssh: the program is copied there, answers over ssh's pipes, and is removed afterwards.
//!
//! Host names, keys, jump hosts and session managers are what ssh's own configuration says (ssh_config(5), ProxyCommand); nothing of it is
//! known here. The other side needs a shell and no right of its own.

mod copy;
mod script;

use std::fs::File;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::elsewhere::Line;
use crate::remote::Pipe;
use crate::{Error, Leave, Remote};
use copy::{Binary, NAMED, machine_of, to_copy};
use script::{PIECE, Said, heard, script};

/// How long the other side may take to let us in: somebody may have to type a passphrase.
const LETTING_IN: Duration = Duration::from_secs(300);
/// How long it may be silent while the program is copied: so long may one piece take.
const SILENCE: Duration = Duration::from_secs(120);
/// How often it is said how far a copy is.
const TELL: Duration = Duration::from_secs(2);
/// How long an agent over there that hears nothing from us believes that we are still there. A connection that broke without a word tells
/// nobody, and its load must not stay.
const ALONE: Duration = Duration::from_secs(60);
/// How long one try to reach a host that is starting may take, and how long it is until the next.
const TRY: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(2);
/// What a dynamic linker says where a library, or a glibc as new as ours, is missing; and a shell where the linker itself is.
const UNLINKED: [&str; 4] =
    ["error while loading shared libraries", "version `GLIBC", "not found (required by", "exit status: 127"];

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
    /// Connects, as the vantage `name`; `progress` is told how far a copy is that takes long.
    ///
    /// # Errors
    /// If the host cannot be reached, is another kind of machine, or does not take the program; if `stop` is set.
    pub fn connect(&self, name: &str, progress: &dyn Fn(&str), stop: &AtomicBool) -> Result<Remote, Error> {
        self.is_a_host(name)?;
        let own = std::env::current_exe().map_err(lab::Error::system("finding our own binary"))?;
        let own = to_copy(std::env::var_os(NAMED), own, cfg!(target_feature = "crt-static"));
        let read = || lab::Error::system(format!("reading {}", own.display()));
        let (binary, ours) = (Binary::read(&own).map_err(read())?, machine_of(&own).map_err(read())?);
        let load = if self.leave.load { " --allow-load" } else { "" };
        let capture = if self.leave.capture { "" } else { " --no-capture" };
        let mut command = command(&self.host);
        command.arg(script(&binary, self.keep, &format!("agent --stdio --silence {}{load}{capture}", ALONE.as_secs())));
        let mut pipe = Pipe::open(name, command)?;
        match self.hear(&mut pipe, &binary, LETTING_IN, stop)? {
            Said::Is { machine, .. } if machine != ours => {
                let what =
                    format!("is a {machine:?} machine, and this program is built for {ours:?}: name a program for it by {NAMED}");
                return Err(Error::Gone { vantage: name.to_owned(), what });
            }
            Said::Is { .. } => pipe.say(b"go\n", SILENCE, stop)?,
            other => return Err(pipe.gone(format!("answered out of turn: {other:?}"))),
        }
        let mut file = File::open(&own).map_err(read())?;
        let (mut left, mut told) = (binary.size, Instant::now());
        loop {
            match self.hear(&mut pipe, &binary, SILENCE, stop)? {
                Said::Start => break,
                Said::Next if left > 0 => {
                    let mut piece = vec![0; left.min(PIECE) as usize];
                    file.read_exact(&mut piece).map_err(read())?;
                    left -= piece.len() as u64;
                    pipe.say(&piece, SILENCE, stop)?;
                    if told.elapsed() > TELL {
                        let (percent, mb) = ((binary.size - left) * 100 / binary.size, binary.size / 1_000_000);
                        progress(&format!("copying the program to {name}: {percent} % of {mb} MB"));
                        told = Instant::now();
                    }
                }
                other => return Err(pipe.gone(format!("answered out of turn: {other:?}"))),
            }
        }
        Remote::over(pipe, stop).map_err(with_remedy)
    }

    /// The next word of the script's; what a login shell prints of itself is passed over.
    fn hear(&self, pipe: &mut Pipe, binary: &Binary, patience: Duration, stop: &AtomicBool) -> Result<Said, Error> {
        let mut other = None;
        loop {
            match pipe.line(patience, stop)? {
                Some(line) => {
                    let line = String::from_utf8_lossy(&line);
                    if let Some(said) = heard(binary, &line) {
                        return Ok(said);
                    }
                    other = Some(line.trim().chars().take(80).collect::<String>()).filter(|line| !line.is_empty()).or(other);
                }
                None => {
                    let how = pipe.how_it_ended();
                    let what = match other {
                        Some(line) => {
                            let host = &self.host;
                            format!(
                                "cannot be used: ssh {host} did not run the shell that it was given: it {how}, and said {line:?}"
                            )
                        }
                        None => format!("cannot be reached: ssh {} {how}", self.host),
                    };
                    return Err(pipe.gone(what));
                }
            }
        }
    }

    /// Waits until a host that is starting lets us in.
    ///
    /// # Errors
    /// How it last refused, if it does not within `patience`; if `stop` is set.
    pub fn await_host(&self, name: &str, patience: Duration, stop: &AtomicBool) -> Result<(), Error> {
        self.is_a_host(name)?;
        let until = Instant::now() + patience;
        loop {
            match self.lets_in(stop) {
                Ok(()) => return Ok(()),
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

    /// Whether it lets us in, and has a shell.
    fn lets_in(&self, stop: &AtomicBool) -> Result<(), Why> {
        let mut command = command(&self.host);
        command.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|e| Why::Said(format!("cannot be reached: starting ssh: {e} (apt-get install openssh-client)")))?;
        let err = reader(child.stderr.take());
        let status = wait(&mut child, stop)?;
        let err = err.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let last = err.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        Err(Why::Said(format!("cannot be reached: ssh {}: {last} ({status})", self.host)))
    }
}

/// Why we were not let in.
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

fn wait(child: &mut Child, stop: &AtomicBool) -> Result<std::process::ExitStatus, Why> {
    let deadline = Instant::now() + TRY;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if stop.load(Ordering::Relaxed) || Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(if stop.load(Ordering::Relaxed) {
                    Why::Interrupted
                } else {
                    Why::Said(format!("did not let us in within {} s", TRY.as_secs()))
                });
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(e) => return Err(Why::Said(format!("cannot be waited for: {e}"))),
        }
    }
}

/// ssh to a host, for one command without a terminal: what its configuration says of other sessions there (a command of its own, forwarded
/// ports) is not this one's. A host may stand as `user@host:port` too.
pub fn command(host: &str) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-T", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "Compression=yes"]);
    command.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "--"]).arg(destination(host));
    command
}

/// A host as ssh takes it: a port belongs to a URI there, and an address in brackets stands without them.
fn destination(host: &str) -> String {
    let (user, at) = host.rsplit_once('@').map_or(("", host), |(user, _)| (user, &host[user.len() + 1..]));
    let user_at = &host[..host.len() - at.len()];
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.contains("://") {
        return host.to_owned();
    }
    match (at.strip_prefix('[').and_then(|at| at.split_once(']')), at.split_once(':')) {
        (Some((address, "")), _) => format!("{user_at}{address}"),
        (Some((_, port)), _) if port.strip_prefix(':').is_some_and(is_port) => format!("ssh://{host}"),
        (None, Some((name, port))) if !name.is_empty() && !user.contains(':') && is_port(port) => format!("ssh://{host}"),
        _ => host.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_written_as_people_write_it() {
        for (written, given) in [
            ("box", "box"),
            ("me@box", "me@box"),
            ("me@box:2223", "ssh://me@box:2223"),
            ("box:22", "ssh://box:22"),
            ("[fd77::2]", "fd77::2"),
            ("me@[fd77::2]", "me@fd77::2"),
            ("me@[fd77::2]:2223", "ssh://me@[fd77::2]:2223"),
            ("ssh://me@box:2223", "ssh://me@box:2223"),
            // An address is no host and port, and what is no port is ssh's to refuse.
            ("fd77::2", "fd77::2"),
            ("box:0", "box:0"),
            ("box:http", "box:http"),
        ] {
            assert_eq!(destination(written), given, "{written}");
        }
    }

    #[test]
    fn a_host_without_our_libraries_is_said_what_to_do() {
        let gone = |what: &str| with_remedy(Error::Gone { vantage: "box".into(), what: what.into() }).to_string();
        let said =
            gone("is gone (exit status: 127): whostalled: error while loading shared libraries: libpcap.so.0.8: cannot open");
        assert!(said.contains("libpcap.so.0.8") && said.contains("make dist") && said.contains(NAMED), "{said}");
        // The linker itself is not there: a shell calls the program "not found" that was just copied.
        assert!(gone("is gone (exit status: 127): sh: 1: /home/me/.cache/whostalled/fab7-1: not found").contains("make dist"));
        assert!(!gone("is gone (exit status: 1)").contains("make dist"));
    }
}
