//! curl's `-w '%{json}'`: objects one after another, one a line, in an array, or behind the page that curl printed before them.
//!
//! curl's times are sums since it began: `time_namelookup` ≤ `time_connect` ≤ `time_appconnect` ≤ `time_pretransfer` ≤
//! `time_starttransfer` ≤ `time_total`. A step that did not happen is 0, or repeats the one before it.

use std::io::Read;

use analysis::clock::{Client, Instant};
use analysis::conversation::app::{AppTrace, Step, Tls};
use enumset::EnumSet;
use serde::Deserialize;

use crate::json::{Number, Text};
use crate::request::{End, Place, Request, Seen, Unit, Unknown};
use crate::{Found, Reason, Source};

/// A file of curl's is read whole; nobody's is larger.
const MOST: u64 = 64 << 20;
/// The longest object: with the certificates of a chain.
const MOST_OBJECT: usize = 256 << 10;
/// No curl takes longer than a year, in seconds.
const LONGEST: f64 = 3.2e7;
/// Schemes whose time of TLS is that of SSH.
const SSH: [&str; 3] = ["sftp", "scp", "ssh"];
/// Schemes that begin without TLS: what goes before STARTTLS is in its time.
const STARTTLS: [&str; 6] = ["smtp", "imap", "pop3", "ftp", "ldap", "nntp"];
/// Schemes that begin with TLS.
const TLS: [&str; 11] = ["https", "wss", "ftps", "smtps", "imaps", "pop3s", "ldaps", "gophers", "mqtts", "rtmps", "smbs"];
/// Names of which every object of curl's has one, and no page's own.
const NAMES: [&str; 5] = ["\"time_total\"", "\"time_connect\"", "\"time_namelookup\"", "\"num_connects\"", "\"errormsg\""];
/// Bytes that may be looked at in vain, so that a hostile file costs no hours.
const MOST_IN_VAIN: usize = 32 << 20;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    errormsg: Text,
    exitcode: Number,
    http_code: Number,
    http_connect: Number,
    http_version: Text,
    local_ip: Text,
    local_port: Number,
    num_connects: Number,
    num_redirects: Number,
    proxy_used: Number,
    remote_ip: Text,
    remote_port: Number,
    scheme: Text,
    time_appconnect: Number,
    time_connect: Number,
    time_namelookup: Number,
    time_pretransfer: Number,
    time_posttransfer: Number,
    time_queue: Number,
    time_starttransfer: Number,
    time_total: Number,
    url: Text,
    url_effective: Text,
}

pub(crate) fn read(from: impl Read, found: &mut Found<'_, '_>) {
    let mut bytes = Vec::new();
    if let Err(error) = from.take(MOST + 1).read_to_end(&mut bytes) {
        found.cut(error);
    }
    if bytes.len() as u64 > MOST {
        bytes.truncate(MOST as usize);
        found.cut(format!("what is beyond {} MiB of curl's times is not read", MOST >> 20));
    }
    let (mut at, mut number, mut in_vain) = (0, 0, 0);
    while let Some(begin) = memchr::memchr(b'{', &bytes[at..]).map(|n| at + n) {
        let rest = &bytes[begin..bytes.len().min(begin + MOST_OBJECT)];
        let mut objects = serde_json::Deserializer::from_slice(rest).into_iter::<Object>();
        match objects.next() {
            Some(Ok(object)) => {
                at = begin + objects.byte_offset().max(1);
                if object.time_total.0.is_some() {
                    number += 1;
                    let place = Place { unit: Unit::Object, number };
                    match request(place, &object) {
                        Ok(request) => found.request(request),
                        Err(reason) => found.skip(reason, place),
                    }
                }
            }
            failed => {
                // A brace of the page before; or a broken object; or the one that the file breaks off in.
                let piece = &rest[..memchr::memchr(b'{', &rest[1..]).map_or(rest.len(), |next| next + 1)];
                let curls = piece[1..].trim_ascii_start().starts_with(b"\"")
                    && NAMES.iter().any(|name| memchr::memmem::find(piece, name.as_bytes()).is_some());
                let ended = failed.is_none_or(|failed| failed.is_err_and(|error| error.is_eof()));
                if curls && ended && begin + piece.len() == bytes.len() {
                    found.cut("the file ends inside an object");
                } else if curls {
                    number += 1;
                    found.skip(Reason::NotUnderstood, Place { unit: Unit::Object, number });
                }
                in_vain += rest.len();
                at = begin + 1;
                if in_vain > MOST_IN_VAIN {
                    return found.cut("too much of it is not curl's");
                }
            }
        }
    }
}

fn request(place: Place, object: &Object) -> Result<Request, Reason> {
    if object.num_redirects.positive().is_some_and(|n| n > 0.0) {
        return Err(Reason::Redirects);
    }
    let total = object.time_total.positive().ok_or(Reason::Contradiction)?;
    // Neither never (0) nor longer than all of it.
    let step = |time: Number| time.positive().filter(|t| *t > 0.0);
    let lookup = step(object.time_namelookup);
    let connect = step(object.time_connect);
    let tls = step(object.time_appconnect);
    let sent = step(object.time_posttransfer).filter(|sent| *sent <= total).or(step(object.time_pretransfer));
    let first = step(object.time_starttransfer);
    let steps = [step(object.time_queue), lookup, connect, tls, step(object.time_pretransfer), first, Some(total)];
    let in_order = steps.iter().flatten().is_sorted();
    let negative = [object.time_namelookup, object.time_connect, object.time_appconnect, object.time_starttransfer];
    // Neither out of order, nor negative, nor longer than curl lives.
    if total > LONGEST || !in_order || negative.iter().any(|time| time.0.is_some_and(|t| t < 0.0)) {
        return Err(Reason::Contradiction);
    }
    let scheme = object
        .scheme
        .full()
        .map(str::to_ascii_lowercase)
        .or_else(|| Some(object.url_effective.full()?.split(':').next()?.to_ascii_lowercase()));
    let is = |schemes: &[&str]| scheme.as_deref().is_some_and(|scheme| schemes.contains(&scheme));
    if is(&SSH) || is(&STARTTLS) && tls.is_some() {
        return Err(Reason::NotTls);
    }
    let reused = object.num_connects.0 == Some(0.0) && object.remote_ip.full().is_some();
    // Before curl 7.75 there is no exit code.
    let failed = object.exitcode.positive().map_or(object.http_code.0 == Some(0.0), |code| code > 0.0);
    // What was done without a time of TLS, was done without TLS.
    let secure = (scheme.is_none() || is(&TLS)) && (tls.is_some() || failed || reused);
    let quic = object.http_version.full() == Some("3");

    let queued = step(object.time_queue);
    let began = queued.unwrap_or(0.0);
    let new = |known: Option<f64>| known.filter(|_| !reused);
    // Who names the fields by hand may leave it out.
    let untold = object.time_namelookup.0.is_none() && connect.is_some();
    let tcp = new(connect).filter(|_| !quic);
    let looked_up = new(lookup).or(lookup.filter(|_| !reused));
    // Of a handshake that failed curl (7.88, for one) tells not even when TCP was done; that it has an end of its own shows that it was.
    let together = failed && secure && tcp.is_none() && object.local_port.positive().is_some_and(|port| port > 0.0);
    let tls_began = if quic || together { looked_up.or(Some(began)) } else { tcp };
    let trace = AppTrace {
        started: instant(0.0),
        queued: queued.map(instant),
        lookup: (!reused && !untold).then(|| Step { began: instant(began), done: looked_up.map(instant) }),
        connect: (!reused && !quic && !together && (looked_up.is_some() || untold))
            .then(|| Step { began: instant(looked_up.unwrap_or(began)), done: tcp.map(instant) }),
        tls: tls_began.filter(|_| secure && !reused).map(|began| Tls::between(instant(began), new(tls).map(instant))),
        sent: sent.filter(|_| !secure || reused || tls.is_some()).map(instant),
        first_byte: first.map(instant),
        ended: instant(first.filter(|_| !failed || first.is_some()).unwrap_or(total)),
        complete: first.is_some() || !failed,
        reused,
        host: None,
    };
    let mut unknown = Unknown::TlsMessages | Unknown::Attempts;
    if quic {
        unknown = EnumSet::from(Unknown::Quic);
    }
    if reused {
        unknown = EnumSet::empty();
    }
    if together {
        unknown |= Unknown::Steps;
    }
    if untold {
        unknown |= Unknown::Lookup;
    }
    // Before curl 8.7 only the proxy's answer to CONNECT tells of it.
    if [object.proxy_used, object.http_connect].iter().any(|n| n.positive().is_some_and(|n| n > 0.0)) {
        unknown |= Unknown::Proxy;
    }
    let mut request = Request::new(place, Source::Curl, Seen::Client(trace), unknown);
    if let Some(url) = object.url_effective.full().or(object.url.full()) {
        request.asked_for(url);
    }
    let end = |ip: &Text, port: Number| End {
        ip: ip.full().and_then(|ip| ip.parse().ok()),
        port: port.whole().filter(|port| *port > 0),
    };
    request.client = end(&object.local_ip, object.local_port);
    request.server = end(&object.remote_ip, object.remote_port);
    request.status = object.http_code.whole().filter(|status| *status > 0);
    request.error = object.errormsg.full().map(|text| crate::request::shortened(text).to_owned()).or_else(|| {
        let code: u32 = object.exitcode.whole().filter(|code| *code > 0)?;
        Some(format!("curl's exit code {code}"))
    });
    request.say_what_is_absent();
    Ok(request)
}

/// Seconds since curl began.
fn instant(seconds: f64) -> Instant<Client> {
    Instant::from_nanos((seconds * 1e6).round() as i64 * 1_000)
}
