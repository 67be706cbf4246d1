//! Why clients failed, in their own words. In: how clients ended. Out: reasons, each with how often it came.

use std::collections::BTreeMap;

use agent::ClientEnd;
use prober::Reason;
use records::run::ClientsFailed;
use serde::Deserialize;
use serde_json::Value;

/// Reasons that are kept for a cell: the commonest.
const MOST: usize = 3;
/// Alerts, and the last what OpenSSL itself says of an edge's version.
const NOTHING_IN_COMMON: [&str; 4] =
    ["protocol version", "insufficient security", "no application protocol", "unsupported protocol"];
/// Characters of one.
const WORDS: usize = 200;

/// Reasons by vantage and target.
#[derive(Default)]
pub(crate) struct Failures(BTreeMap<(String, String), BTreeMap<String, u64>>);

impl Failures {
    /// Notes how a client of a cell ended.
    pub(crate) fn note(&mut self, vantage: &str, target: &str, client: &ClientEnd) {
        if let Some(why) = why(client) {
            *self.0.entry((vantage.to_owned(), target.to_owned())).or_default().entry(why).or_default() += 1;
        }
    }

    /// The commonest of each cell.
    pub(crate) fn into_records(self) -> Vec<ClientsFailed> {
        let of_cell = |((vantage, target), reasons): ((String, String), BTreeMap<String, u64>)| {
            let mut reasons: Vec<(String, u64)> = reasons.into_iter().collect();
            reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
            reasons.truncate(MOST);
            reasons.into_iter().map(move |(why, n)| ClientsFailed { vantage: vantage.clone(), target: target.clone(), n, why })
        };
        self.0.into_iter().flat_map(of_cell).collect()
    }
}

/// How a client failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// Why, as far as it says so in words that are known: our own client's, or curl's.
    pub reason: Option<Reason>,
    /// Its own words, or how it ended.
    pub words: String,
}

impl Failed {
    /// Of a client; absent if it did not fail.
    pub fn of(client: &ClientEnd) -> Option<Self> {
        Some(Self { words: why(client)?, reason: reason(&client.said) })
    }

    /// What somebody said was wrong with the handshake, in a sentence; absent where nothing came in time, it is of the request behind it, or
    /// it says nothing that is known.
    pub fn said(&self) -> Option<String> {
        let reason = self.reason.filter(|reason| !reason.is_timeout() && !reason.is_of_request())?;
        Some(format!("{}.", reason.said(self.words.trim_end_matches('.'))))
    }
}

/// Why a client says that it failed: our own, or curl; absent if it did not, or is another's.
pub fn reason(said: &Value) -> Option<Reason> {
    match said.get("reason") {
        Some(ours) => Reason::deserialize(ours).ok(),
        None => curls(said),
    }
}

/// Of curl's exit code and words (libcurl-errors(3)), which are TLS libraries' own in part. Where they may mean several things, nothing.
fn curls(said: &Value) -> Option<Reason> {
    let words = said.get("errormsg").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let speaks_of = |some: &[&str]| some.iter().any(|part| words.contains(part));
    let shaken = said.get("time_appconnect").and_then(Value::as_f64).is_some_and(|seconds| seconds > 0.0);
    match said.get("exitcode")?.as_u64()? {
        6 => Some(Reason::DnsFailed),
        7 if speaks_of(&["refused"]) => Some(Reason::ConnectRefused),
        7 if speaks_of(&["unreachable", "no route to host"]) => Some(Reason::ConnectUnreachable),
        35 | 56 if speaks_of(&["wrong version number", "unexpected tls packet", "packet length too long", "http request"]) => {
            Some(Reason::TlsProtocol)
        }
        // In TLS 1.3 the handshake is over for the client before the edge has seen what it shows.
        35 | 56 if speaks_of(&["certificate required", "certificate is required"]) => Some(Reason::ClientCertificateDemanded),
        35 | 56 if !shaken && speaks_of(&NOTHING_IN_COMMON) => Some(Reason::TlsIncompatible),
        35 | 56 if !shaken && speaks_of(&["alert"]) => Some(Reason::TlsAlert),
        35 | 55 | 56 if !shaken && speaks_of(&["reset"]) => Some(Reason::TlsReset),
        35 if speaks_of(&["eof", "closed", "prematurely"]) => Some(Reason::TlsClosed),
        52 | 56 => Some(Reason::RequestClosed),
        51 | 60 if speaks_of(&["expired", "not yet valid"]) => Some(Reason::CertificateExpired),
        51 | 60 if speaks_of(&["subject name", "does not match", "mismatch"]) => Some(Reason::CertificateWrongName),
        60 if speaks_of(&["issuer", "self-signed", "self signed", "unknown ca", "signer"]) => {
            Some(Reason::CertificateUnknownIssuer)
        }
        51 | 60 => Some(Reason::CertificateInvalid),
        _ => None,
    }
}

/// Why a client failed: our own client's words, curl's, the end of any other's complaint; absent if it did not.
fn why(client: &ClientEnd) -> Option<String> {
    if client.code == Some(0) {
        return None;
    }
    let said = |name: &str| client.said.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let complained = || client.complained.lines().rev().find(|line| !line.trim().is_empty());
    let ended = match (client.timed_out, client.code) {
        (true, _) => "it had not ended when its time was over, and was ended".to_owned(),
        (false, Some(code)) => format!("it ended with exit code {code}"),
        (false, None) => "a signal ended it".to_owned(),
    };
    let words = if client.timed_out { None } else { said("detail").or_else(|| said("errormsg")).or_else(complained) };
    Some(words.map_or(ended, |words| words.trim().chars().take(WORDS).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_say_themselves_why_they_failed() {
        let end = |code, timed_out, said: Value, complained: &str| {
            let complained = complained.to_owned();
            why(&ClientEnd { pid: 1, code, timed_out, said, complained, trace: agent::Trace::default() })
        };
        let text = |text: &str| Value::String(text.into());
        let ours = serde_json::json!({"detail": "the name server says that there is no name a.test", "reason": "dns_no_address"});
        assert_eq!(end(Some(1), false, ours.clone(), "").as_deref(), Some("the name server says that there is no name a.test"));
        let curls = serde_json::json!({"errormsg": "Couldn't connect to server", "exitcode": 7});
        assert_eq!(end(Some(7), false, curls, "curl: (7)").as_deref(), Some("Couldn't connect to server"));
        assert_eq!(end(Some(2), false, text(""), "usage\nno such option\n\n").as_deref(), Some("no such option"));
        assert_eq!(end(Some(3), false, text(""), "").as_deref(), Some("it ended with exit code 3"));
        assert_eq!(end(None, false, text(""), "").as_deref(), Some("a signal ended it"));
        assert!(end(None, true, ours, "x").is_some_and(|why| why.contains("time was over")));
        assert_eq!(end(Some(0), false, text(""), "a warning"), None);
    }

    #[test]
    fn curls_words_are_understood_as_far_as_they_mean_one_thing() {
        let of = |code: u64, words: &str, shaken: f64| {
            reason(&serde_json::json!({ "exitcode": code, "errormsg": words, "time_appconnect": shaken }))
        };
        let name = "SSL: no alternative certificate subject name matches target host name 'edge'";
        assert_eq!(of(60, name, 0.0), Some(Reason::CertificateWrongName));
        assert_eq!(of(60, "SSL certificate problem: certificate has expired", 0.0), Some(Reason::CertificateExpired));
        let version = "TLS connect error: error:0A00010B:SSL routines::wrong version number";
        assert_eq!(of(35, version, 0.0), Some(Reason::TlsProtocol));
        assert_eq!(of(35, "Recv failure: Connection reset by peer", 0.0), Some(Reason::TlsReset));
        assert_eq!(of(55, "Send failure: Connection reset by peer", 0.0), Some(Reason::TlsReset));
        assert_eq!(of(56, "Recv failure: Connection reset by peer", 0.02), Some(Reason::RequestClosed));
        assert_eq!(of(7, "Failed to connect to edge port 9 after 0 ms: Connection refused", 0.0), Some(Reason::ConnectRefused));
        assert_eq!(of(7, "Failed to connect to edge port 9 after 0 ms: Could not connect to server", 0.0), None);
        assert_eq!(of(28, "Operation timed out", 0.0), None, "a question of time");
        assert_eq!(of(0, "", 0.02), None);
        let required = "OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0";
        assert_eq!(of(56, required, 0.02), Some(Reason::ClientCertificateDemanded), "said behind the handshake");
        let version = "TLS connect error: error:0A00042E:SSL routines::tlsv1 alert protocol version";
        assert_eq!(of(35, version, 0.0), Some(Reason::TlsIncompatible), "nobody's fault in particular");
        let unsupported = "TLS connect error: error:0A000102:SSL routines::unsupported protocol";
        assert_eq!(of(35, unsupported, 0.0), Some(Reason::TlsIncompatible));
        let security = "TLS connect error: error:0A00042F:SSL routines::tlsv1 alert insufficient security";
        assert_eq!(of(35, security, 0.0), Some(Reason::TlsIncompatible));
        assert_eq!(
            of(35, "TLS connect error: error:0A000438:SSL routines::tlsv1 alert internal error", 0.0),
            Some(Reason::TlsAlert)
        );
    }

    #[test]
    fn the_commonest_reasons_of_a_cell_are_kept() {
        let mut failures = Failures::default();
        for (n, why) in ["d", "a", "b", "b", "c", "c", "c"].iter().enumerate() {
            let said = serde_json::json!({ "detail": why });
            let client = ClientEnd {
                pid: n as u32,
                code: Some(1),
                timed_out: false,
                said,
                complained: String::new(),
                trace: agent::Trace::default(),
            };
            failures.note("here", "edge", &client);
        }
        let kept: Vec<(String, u64)> = failures.into_records().into_iter().map(|failed| (failed.why, failed.n)).collect();
        assert_eq!(kept, [("c".to_owned(), 3), ("b".to_owned(), 2), ("a".to_owned(), 1)]);
    }
}
