//! Providers' programs: found, asked, heard. In: a request. Out: what the provider says, line by line; an error with whose fault it is.
//!
//! What a provider began it takes down itself when it is told to stop; so it has a process group of its own, and Ctrl-C is passed on once.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provider::{Beyond, Caps, Final, Heard, Line, NoName, Request, Settings, Wrong, hear, program};
use settings::words::visible;

/// Bytes of a line: more is no line of a provider.
const MOST_LINE: u64 = 1 << 20;
/// How often it is looked whether we were told to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Why a provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotProvided {
    /// Its name is none.
    #[error("--provider: {0}")]
    Name(#[from] NoName),
    /// There is no such program.
    #[error(
        "--provider {name}: there is no program {program} beside this one or on the PATH; docs/providers.md says how one is built or written"
    )]
    NoProgram {
        /// The provider.
        name: String,
        /// Its program.
        program: String,
    },
    /// Its settings cannot be read.
    #[error("{file}: {what}")]
    Settings {
        /// The file, or the option.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// It cannot be started or spoken with.
    #[error("the provider {program}: {what}")]
    Broken {
        /// Its program.
        program: String,
        /// What is wrong.
        what: String,
    },
    /// It would cost more than the cap, by its own price; it was told to stop.
    #[error("{0}")]
    Beyond(#[from] Beyond),
    /// It says itself why.
    #[error("{0}")]
    Wrong(#[from] Wrong),
}

/// A provider: its program and its settings.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    path: PathBuf,
}

impl Program {
    /// The program of the provider `name`: beside this one, else on the path; or the one at the path `name`, which has a `/`.
    pub(crate) fn find(name: &str) -> Result<Self, NotProvided> {
        if name.contains('/') {
            let path = PathBuf::from(name);
            let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
            let own = file.strip_prefix("whostalled-vantage-").unwrap_or(&file).to_owned();
            return if path.is_file() {
                Ok(Self { name: own, path })
            } else {
                Err(NotProvided::NoProgram { name: own, program: name.to_owned() })
            };
        }
        let file = program(name)?;
        let beside = std::env::current_exe().ok().map(|own| own.with_file_name(&file)).filter(|path| path.is_file());
        let path = beside.or_else(|| which::which(&file).ok());
        path.map(|path| Self { name: name.to_owned(), path })
            .ok_or_else(|| NotProvided::NoProgram { name: name.to_owned(), program: file })
    }

    fn broken(&self, what: impl Into<String>) -> NotProvided {
        NotProvided::Broken { program: self.path.display().to_string(), what: what.into() }
    }

    /// Asks it, and hears it to its end. It is told to stop when `stop` is set, or when its own price is beyond `caps`.
    pub(crate) fn ask(
        &self,
        request: &Request,
        caps: Option<Caps>,
        stop: &AtomicBool,
        heard: &mut dyn FnMut(&Line),
    ) -> Result<(), NotProvided> {
        let mut child = self.start(request, Stdio::piped())?;
        let ended = AtomicBool::new(false);
        let pid = child.id();
        let said = std::thread::scope(|scope| {
            scope.spawn(|| pass_on(pid, stop, &ended));
            // Whatever becomes of listening: the scope waits for the thread.
            let _over = Over(&ended);
            let said = self.listen(&mut child, pid, caps, heard);
            (said, child.wait())
        });
        match said {
            (Err(error), _) => Err(error),
            (Ok(Some(Final::Done)), _) => Ok(()),
            (Ok(Some(Final::Failed(wrong))), _) => Err(wrong.into()),
            (Ok(None), status) => {
                let status = status.map_or_else(|e| e.to_string(), |status| status.to_string());
                Err(self.broken(format!("ended without saying how ({status})")))
            }
        }
    }

    /// Starts it with a request, in a process group of its own: it goes on without us.
    pub(crate) fn start(&self, request: &Request, out: Stdio) -> Result<Child, NotProvided> {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::piped()).stdout(out).process_group(0);
        let text = serde_json::to_string(request).map_err(|e| self.broken(e.to_string()))?;
        let mut child = command.spawn().map_err(|e| self.broken(format!("cannot be started: {e}")))?;
        // Whoever does not read its request will not answer it either.
        let _ = child.stdin.take().map(|mut input| writeln!(input, "{text}"));
        Ok(child)
    }

    fn listen(
        &self,
        child: &mut Child,
        pid: u32,
        caps: Option<Caps>,
        heard: &mut dyn FnMut(&Line),
    ) -> Result<Option<Final>, NotProvided> {
        let out = child.stdout.take().ok_or_else(|| self.broken("has no output"))?;
        let (mut out, mut end, mut beyond, mut unread) = (BufReader::new(out), None, None, None);
        loop {
            let mut line = Vec::new();
            let read = out.by_ref().take(MOST_LINE).read_until(b'\n', &mut line);
            if read.map_err(|e| self.broken(format!("cannot be heard: {e}")))? == 0 {
                break;
            }
            let line = String::from_utf8_lossy(&line);
            if line.trim().is_empty() {
                continue;
            }
            match hear(&line) {
                Ok(Heard::Line(line)) => {
                    if let (Line::Price { usd, .. }, Some(caps)) = (&line, caps) {
                        // A lower price afterwards does not take back what was said.
                        beyond = beyond.or(caps.bear(0, 0, 0.0, *usd).err());
                        beyond.iter().for_each(|_| signal(pid));
                    }
                    heard(&line);
                }
                Ok(Heard::Final(last)) => end = Some(last),
                Ok(Heard::Unknown(_)) => {}
                Err(why) => {
                    unread.get_or_insert_with(|| {
                        format!("says what is no line of a provider: {why}: {:.200}", visible(line.trim()))
                    });
                }
            }
        }
        match (beyond, unread) {
            (Some(beyond), _) => Err(beyond.into()),
            // It has been heard to its end, so that it could take down what it began.
            (None, Some(unread)) if end.is_none() => Err(self.broken(unread)),
            _ => Ok(end),
        }
    }
}

/// Sets a flag when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tells a provider to stop when we are told to.
fn pass_on(pid: u32, stop: &AtomicBool, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        if stop.load(Ordering::Relaxed) {
            signal(pid);
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn signal(pid: u32) {
    // It may have ended.
    let _ = i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
}

/// Settings of the provider `name`: its table in a file, with overrides.
pub(crate) fn settings_of(name: &str, file: Option<&Path>, set: &[String]) -> Result<Settings, NotProvided> {
    let mut table = toml::Table::new();
    if let Some(path) = file {
        let wrong = |what: String| NotProvided::Settings { file: path.display().to_string(), what };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let mut all: toml::Table = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        match all.remove(name) {
            Some(toml::Value::Table(own)) => table = own,
            Some(_) => return Err(wrong(format!("`{name}` is no table: write [{name}]"))),
            None => return Err(wrong(format!("it has no table [{name}]"))),
        }
    }
    for setting in set {
        let wrong = |what: &str| NotProvided::Settings { file: format!("--set {setting}"), what: what.into() };
        let (key, value) = setting.split_once('=').ok_or_else(|| wrong("write it as key=value"))?;
        let value = toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut t| t.remove("v"));
        table.insert(key.trim().to_owned(), value.unwrap_or_else(|| toml::Value::String(setting[key.len() + 1..].to_owned())));
    }
    match serde_json::to_value(table) {
        Ok(serde_json::Value::Object(settings)) => Ok(settings),
        _ => Err(NotProvided::Settings { file: "settings".into(), what: "cannot be written as JSON".into() }),
    }
}

/// That whoever has the same file finds what is brought up with these settings: its region is one of the file's.
pub(crate) fn findable(file: &Settings, settings: &Settings) -> Result<(), NotProvided> {
    let (Some(own), Some(region)) = (file.get("region"), settings.get("region")) else { return Ok(()) };
    let looked = |all: &serde_json::Value| all.as_array().is_some_and(|all| all.contains(region));
    if own == region || file.get("regions").is_some_and(looked) {
        return Ok(());
    }
    let what = format!(
        "the file of settings has region = {own}, and not this one among its `regions`: `vantage list`, `down` and `reap` with that file \
         would not look there; add it to `regions`"
    );
    Err(NotProvided::Settings { file: format!("region = {region}"), what })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use provider::{Ask, Fault};

    use super::*;

    /// A provider of a few lines of shell.
    fn shell(folder: &Path, script: &str) -> Program {
        let path = folder.join("whostalled-vantage-shell");
        std::fs::write(&path, format!("#!/bin/sh\nread -r request\n{script}")).expect("our own folder");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).expect("our own file");
        Program { name: "shell".into(), path }
    }

    fn asked(script: &str, caps: Option<Caps>, stop: &AtomicBool) -> (Vec<Line>, Result<(), NotProvided>) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut lines = Vec::new();
        let request = Request::new(Ask::List { run: None }, false, Settings::new());
        let done = shell(folder.path(), script).ask(&request, caps, stop, &mut |line| lines.push(line.clone()));
        (lines, done)
    }

    #[test]
    fn what_it_says_is_heard() {
        let stop = AtomicBool::new(false);
        let (lines, done) = asked("echo '{\"say\":\"gone\",\"id\":\"1\"}'; echo '{\"say\":\"done\"}'", None, &stop);
        assert!(done.is_ok(), "{done:?}");
        assert_eq!(lines, [Line::Gone { id: "1".into() }]);
        let (_, done) = asked(r#"echo '{"say":"failed","fault":"rights","what":"no","todo":"ask"}'"#, None, &stop);
        let Err(NotProvided::Wrong(wrong)) = done else { panic!("{done:?}") };
        assert_eq!((wrong.fault, wrong.to_string().as_str()), (Fault::Rights, "no; ask"));
    }

    #[test]
    fn who_does_not_say_how_it_ended_has_failed() {
        let stop = AtomicBool::new(false);
        for (script, why) in
            [("exit 3", "without saying how (exit status: 3)"), ("echo hello", "no JSON: "), ("kill -9 $$", "signal: 9")]
        {
            let (_, done) = asked(script, None, &stop);
            let said = done.expect_err(script).to_string();
            assert!(said.contains(why) && said.contains("whostalled-vantage-shell"), "{said}");
        }
    }

    #[test]
    fn a_lower_price_does_not_take_back_one_beyond_the_cap() {
        let caps = Caps { instances: 1, hours: 1.0, usd: 0.5 };
        let price = |usd| format!("echo '{{\"say\":\"price\",\"usd\":{usd},\"usd_per_hour\":1,\"what\":\"x\"}}'\n");
        let script = format!("trap '' TERM\n{}{}echo '{{\"say\":\"done\"}}'", price(100.0), price(0.05));
        let (_, done) = asked(&script, Some(caps), &AtomicBool::new(false));
        assert!(matches!(done, Err(NotProvided::Beyond(Beyond::Usd { .. }))), "{done:?}");
    }

    #[test]
    fn a_price_beyond_the_cap_stops_it() {
        let caps = Caps { instances: 1, hours: 1.0, usd: 0.5 };
        let script = "trap 'echo \"{\\\"say\\\":\\\"gone\\\",\\\"id\\\":\\\"1\\\"}\"; exit 1' TERM\n\
                      echo '{\"say\":\"price\",\"usd\":0.51,\"usd_per_hour\":1,\"what\":\"x\"}'\nfor i in $(seq 300); do sleep 0.1; done";
        let (lines, done) = asked(script, Some(caps), &AtomicBool::new(false));
        assert!(matches!(done, Err(NotProvided::Beyond(Beyond::Usd { .. }))), "{done:?}");
        assert_eq!(lines.last(), Some(&Line::Gone { id: "1".into() }), "it took down what it began");
    }

    #[test]
    fn a_stop_is_passed_on_and_what_is_taken_down_is_heard() {
        let stop = AtomicBool::new(false);
        let script = "trap 'echo \"{\\\"say\\\":\\\"failed\\\",\\\"fault\\\":\\\"interrupted\\\",\\\"what\\\":\\\"told to stop\\\"}\"; exit 1' TERM\n\
                      for i in $(seq 300); do sleep 0.1; done";
        let done = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                stop.store(true, Ordering::Relaxed);
            });
            asked(script, None, &stop).1
        });
        assert!(matches!(done, Err(NotProvided::Wrong(Wrong { fault: Fault::Interrupted, .. }))), "{done:?}");
    }

    #[test]
    fn settings_are_a_table_of_the_provider() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.toml");
        std::fs::write(&path, "[ec2]\nregion = \"a\"\nburn = true\n[other]\nx = 1\n").expect("our own folder");
        let set = ["region=eu-central-1".to_owned(), "subnets=[\"s\"]".into()];
        let read = settings_of("ec2", Some(&path), &set).expect("they are good");
        assert_eq!(serde_json::Value::from(read), serde_json::json!({"region": "eu-central-1", "burn": true, "subnets": ["s"]}));
        let of =
            |region: &str| settings_of("ec2", None, &[format!("region={region}"), "regions=[\"b-c-1\"]".into()]).expect("good");
        assert!(findable(&of("a-b-1"), &of("a-b-1")).is_ok() && findable(&of("a-b-1"), &of("b-c-1")).is_ok());
        assert!(findable(&Settings::new(), &of("c-d-1")).is_ok(), "no file looks anywhere");
        let lost = findable(&of("a-b-1"), &of("c-d-1")).expect_err("nobody looks there").to_string();
        assert!(lost.contains("c-d-1") && lost.contains("`regions`"), "{lost}");
        assert!(settings_of("gcp", Some(&path), &[]).expect_err("no table").to_string().contains("[gcp]"));
        assert!(settings_of("ec2", None, &["x".into()]).expect_err("no value").to_string().contains("key=value"));
        assert!(Program::find("../x").is_err() && Program::find("no-such-provider").is_err());
    }
}
