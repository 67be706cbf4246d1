//! Why a flow should be kept.

use std::net::SocketAddr;

/// Somebody's word that a connection deserves a look.
#[derive(Clone, PartialEq, Debug)]
pub struct Trigger {
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end, where it is known.
    pub server: Option<SocketAddr>,
    /// Whose word.
    pub source: Source,
}

impl Trigger {
    /// How well its words name a server's end: 2 with its address and port, 1 with one of them, 0 with neither. Who says nothing but the
    /// client's end means any.
    pub fn names(&self, server: SocketAddr) -> u8 {
        let Source::Log(line) = &self.source else { return 0 };
        // Not its journal entry: numbers of processes, users and lines of code are no ports.
        let has = |word: &str| whole(&line.text, word);
        u8::from(has(&server.ip().to_string())) + u8::from(has(&server.port().to_string()))
    }

    /// Bytes of its words.
    pub fn words(&self) -> usize {
        let Source::Log(line) = &self.source else { return 0 };
        line.text.len() + line.entry.as_ref().map_or(0, Vec::len)
    }
}

/// Whether a text has a number or an address, and not as a part of a longer one.
fn whole(text: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        // "10.0.0.1" is no part of "10.0.0.1:443", and is one of "10.0.0.1.2" only where another number follows.
        let mut behind = text[at + word.len()..].chars();
        let (next, then) = (behind.next(), behind.next());
        let goes_on = part(next) || next == Some('.') && then.is_some_and(|c| c.is_ascii_digit());
        !(part(before) || before == Some('.') || goes_on)
    })
}

/// Whose word it is.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// The recorder's own detector.
    Detector,
    /// A line of the proxy's log.
    Log(LogLine),
    /// A person's, or a program's, over the control socket.
    Asked,
}

/// A line of a log.
#[derive(Clone, PartialEq, Debug)]
pub struct LogLine {
    /// The line, or the journal entry's message.
    pub text: String,
    /// The whole entry, where it comes from the journal, in Journal Export Format.
    pub entry: Option<Vec<u8>>,
}

impl Source {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Source::Detector => "detector",
            Source::Log(LogLine { entry: Some(_), .. }) => "journal",
            Source::Log(_) => "log",
            Source::Asked => "asked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_server_by_whole_numbers() {
        let names = |text: &str| {
            let entry = Some(format!("_PID=443\n_UID=10.0.0.1\nMESSAGE={text}\n").into_bytes());
            let source = Source::Log(LogLine { text: text.into(), entry });
            let client = SocketAddr::from(([192, 0, 2, 7], 40_000));
            Trigger { client, server: None, source }.names(SocketAddr::from(([10, 0, 0, 1], 443)))
        };
        for (text, rank) in [
            ("client=192.0.2.7:40000 server=10.0.0.1:443", 2),
            (r#"{"server_addr":"10.0.0.1","server_port":443}"#, 2),
            ("192.0.2.7:40000 -> 10.0.0.1.", 1),
            ("192.0.2.7:40000 10.0.0.12:8443 took 0.443 s", 0),
            ("192.0.2.7:40000 110.0.0.1 10.0.0.1.5", 0),
        ] {
            assert_eq!(names(text), rank, "{text}");
        }
    }
}
