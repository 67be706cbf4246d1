//! The program itself, with the credentials of nobody, against whatever answers as EC2.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use fake::http::{Server, Setup};
use fake::model::Character;
use provider::{Fault, Final, Heard, Line, Request, Wrong, hear};

/// Seconds since the epoch, as the program's own clock has them.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// EC2 whose instances run after a second and have ended a second after their end.
pub fn server() -> Server {
    let server = Server::start(Setup::default());
    server.model().character = Character { boot: 1, ..Character::default() };
    server.model().ending = 1;
    server
}

/// What the program said.
pub struct Said {
    pub lines: Vec<Line>,
    pub end: Option<Final>,
}

impl Said {
    pub fn done(&self) -> bool {
        self.end == Some(Final::Done)
    }

    pub fn wrong(&self) -> Option<(Fault, String)> {
        match &self.end {
            Some(Final::Failed(wrong)) => Some((wrong.fault, Wrong::to_string(wrong))),
            _ => None,
        }
    }

    pub fn ids(&self) -> Vec<String> {
        self.lines.iter().filter_map(|line| if let Line::Vantage(v) = line { Some(v.id.clone()) } else { None }).collect()
    }
}

/// Starts it with a request.
pub fn begin(url: &str, request: &Request, known: bool) -> Child {
    let keys: &[_] = if known { &[("AWS_ACCESS_KEY_ID", "AKIDTEST"), ("AWS_SECRET_ACCESS_KEY", "secret")] } else { &[] };
    begin_with(url, request, keys)
}

/// The same with this in its environment.
pub fn begin_with(url: &str, request: &Request, environment: &[(&str, &str)]) -> Child {
    // `WHOSTALLED_VANTAGE_EC2` names another build of it: the one that is handed out.
    let program = std::env::var_os("WHOSTALLED_VANTAGE_EC2");
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_whostalled-vantage-ec2").into()));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("AWS_ENDPOINT_URL", url).env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    let mut child =
        command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program");
    let text = serde_json::to_string(request).expect("JSON");
    writeln!(child.stdin.take().expect("piped"), "{text}").expect("it reads");
    child
}

/// Hears it to its end.
pub fn end(child: Child) -> Said {
    let output = child.wait_with_output().expect("our own child");
    let (mut lines, mut end) = (Vec::new(), None);
    for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
        match hear(line).unwrap_or_else(|why| panic!("{why}: {line}")) {
            Heard::Line(line) => lines.push(line),
            Heard::Final(last) => end = Some(last),
            Heard::Unknown(say) => panic!("{say}"),
        }
    }
    assert_eq!(output.status.success(), end == Some(Final::Done), "the exit code says the same as the last line");
    Said { lines, end }
}

/// Asks it.
pub fn ask(url: &str, request: &Request) -> Said {
    end(begin(url, request, true))
}
