//! Programs on lab hosts: started, watched for their listening port, ended.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::host::Host;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Failed, Why};

/// A program; dropping it kills it.
pub struct Program {
    child: Child,
    out: PathBuf,
}

/// What to start.
pub struct Start<'a> {
    pub program: &'a str,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Standard output goes to this name with `.out`, standard error with `.err`.
    pub log: PathBuf,
    /// Text for its standard input, then its end.
    pub input: Option<&'a str>,
    /// A cgroup to run in.
    pub group: Option<PathBuf>,
}

/// Starts a program on a host, a little ahead of other work of this machine: its own slowness is not what is recorded.
///
/// # Errors
/// If it cannot be started.
pub fn start(host: &Host, what: &Start<'_>) -> Result<Program, Failed> {
    let mut args: Vec<String> = vec!["-n".into(), "-10".into(), what.program.into()];
    args.extend(what.args.iter().cloned());
    let mut placement = host.placement();
    placement.cgroups = what.group.iter().cloned().collect();
    let mut command = placement.command("nice", &args)?;
    let out = what.log.with_extension("out");
    let file = |path: &Path| File::create(path).why(format!("making {}", path.display()));
    command.envs(what.env.iter().cloned()).stdout(file(&out)?).stderr(file(&what.log.with_extension("err"))?);
    command.stdin(if what.input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().why(format!("starting {}", what.program))?;
    if let (Some(text), Some(mut stdin)) = (what.input, child.stdin.take()) {
        use std::io::Write;
        let _ = stdin.write_all(text.as_bytes());
    }
    Ok(Program { child, out })
}

impl Program {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; none after `most`.
    pub fn wait(&mut self, most: Duration) -> Option<i32> {
        let until = Instant::now() + most;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status.code().unwrap_or(-1)),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
                _ => return None,
            }
        }
    }

    /// Asks it to end and waits a little.
    pub fn end(mut self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid() as i32), signal);
        let _ = self.wait(Duration::from_secs(1));
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// What it wrote to standard error so far.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.out.with_extension("err")).unwrap_or_default()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid() as i32), Signal::SIGCONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process and its children: a server may fork for every connection.
pub fn with_children(pid: u32) -> Vec<Pid> {
    let parent = |stat: &str| stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse::<u32>().ok();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = all.filter_map(|entry| {
        let child = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        (parent(&stat) == Some(pid)).then_some(child)
    });
    children.chain([pid as i32]).map(Pid::from_raw).collect()
}

/// Waits until something on `host` listens on `port` at as many addresses as asked.
///
/// # Errors
/// If nothing does in time, or the program ended.
pub fn listening(host: &Host, port: u16, many: usize, program: &mut Program) -> Result<(), Failed> {
    let until = Instant::now() + Duration::from_secs(8);
    let wanted = format!(":{port:04X} ");
    while Instant::now() < until {
        let tables = host.namespace.run(|| {
            let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
            Ok(read("tcp") + &read("tcp6"))
        })?;
        let found = tables.lines().filter(|l| l.contains(&wanted) && l.split_whitespace().nth(3) == Some("0A")).count();
        if found >= many {
            return Ok(());
        }
        if program.ended() {
            return Err(Failed(format!("the server ended: {} {}", program.errors().trim(), program.output().trim())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Failed(format!("nobody listens on port {port}: {}", program.errors().trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_comes_with_its_children_and_no_others() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = |of: u32| Pid::from_raw(of as i32);
        let found = with_children(std::process::id());
        let of_child = with_children(child.id());
        let _ = child.kill();
        let _ = child.wait();
        assert!(found.contains(&pid(std::process::id())) && found.contains(&pid(child.id())), "{found:?}");
        assert!(!found.contains(&pid(1)), "{found:?}");
        assert_eq!(of_child, [pid(child.id())]);
    }
}
