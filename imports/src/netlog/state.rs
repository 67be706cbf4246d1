//! What is known of sockets, the jobs that made them, and the requests that used them, while a NetLog is read.

use std::collections::{BTreeMap, HashMap};

use analysis::clock::{Client, Instant, Span};
use analysis::conversation::app::AppTrace;
use enumset::EnumSet;

use super::Params;
use super::socket::{Ms, Socket, Stretch, instant};
use crate::logline::endpoint;
use crate::request::{Place, Request, Seen, Unit, Unknown, shortened};
use crate::when::When;
use crate::{Found, Reason, Source};

/// So many sockets, jobs and requests are kept, each.
const MOST: usize = 100_000;
/// A socket whose TCP began longer after the answer was not waiting for it (in milliseconds; as in `explain`'s captures).
const LOOKUP_FITS: Ms = 50;
/// The events that are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum What {
    ConnectJobSetSocket,
    HostResolverManagerRequest,
    SocketPoolConnectJobCreated,
    #[strum(serialize = "HTTP2_SESSION_INITIALIZED")]
    SessionInitialized,
    #[strum(serialize = "HTTP2_SESSION_POOL_FOUND_EXISTING_SESSION")]
    SessionFound,
    HttpStreamRequestBoundToJob,
    HttpTransactionReadHeaders,
    HttpTransactionSendRequest,
    SocketPoolBoundToSocket,
    SocketPoolReusedAnExistingSocket,
    SslConnect,
    SslHandshakeMessageReceived,
    SslHandshakeMessageSent,
    TcpConnect,
    TcpConnectAttempt,
    UrlRequestStartJob,
}

impl What {
    pub(super) const ALL: &[What] = <What as strum::VariantArray>::VARIANTS;
}

#[derive(Clone, Default, Debug)]
struct Job {
    /// Its own lookup (Chrome before 2025).
    lookup: Stretch,
    /// Where it connects to: `https://example.com:443`.
    to: Option<String>,
}

/// A lookup of a name.
#[derive(Clone, Debug)]
struct Lookup {
    host: String,
    stretch: Stretch,
}

#[derive(Clone, Default, Debug)]
struct Asked {
    url: Option<String>,
    began: Option<Ms>,
    stream: Option<u64>,
    sent: Stretch,
    headers: Stretch,
    error: Option<i64>,
}

/// Everything under way. Sources are numbered by the browser, in the order in which they began.
#[derive(Default)]
pub(super) struct State {
    /// Where the events' times have their zero, in milliseconds of the epoch.
    pub(super) offset: Option<f64>,
    /// The latest event.
    pub(super) last: Option<Ms>,
    /// Whether the file breaks off.
    pub(super) cut: bool,
    sockets: BTreeMap<u64, Socket>,
    jobs: HashMap<u64, Job>,
    /// Lookups under way, by their source, and those that are done.
    asking: HashMap<u64, Lookup>,
    looked_up: Vec<Lookup>,
    requests: BTreeMap<u64, Asked>,
    /// The socket that a stream's job was given; whether that had been used before.
    streams: HashMap<u64, (u64, bool)>,
    /// The socket of an HTTP/2 session.
    sessions: HashMap<u64, u64>,
    /// Sources beyond [`MOST`].
    beyond: u64,
}

impl State {
    pub(super) fn take(&mut self, what: What, begin: bool, end: bool, id: u64, at: Ms, params: &Params) {
        let other = || params.source_dependency.0.as_ref().and_then(|source| source.id.whole());
        match what {
            What::TcpConnect | What::TcpConnectAttempt | What::SslConnect => {
                if let Some(socket) = kept(&mut self.sockets, id, &mut self.beyond) {
                    socket.connected(what, begin, end, at, params);
                }
            }
            What::SslHandshakeMessageSent | What::SslHandshakeMessageReceived => {
                if let Some(socket) = self.sockets.get_mut(&id) {
                    socket.message(what == What::SslHandshakeMessageSent, at, params);
                }
            }
            What::HostResolverManagerRequest => self.lookup(begin, end, id, at, params),
            What::SocketPoolConnectJobCreated => {
                if let Some(job) = kept_job(&mut self.jobs, id) {
                    // `https://example.com:443 <https://example.com same_site>`
                    job.to = params.group_id.full().and_then(|group| group.split(' ').next()).map(|to| shortened(to).to_owned());
                }
            }
            What::ConnectJobSetSocket => {
                if let Some(socket) = other().and_then(|socket| kept(&mut self.sockets, socket, &mut self.beyond)) {
                    socket.job.get_or_insert(id);
                }
            }
            What::SocketPoolBoundToSocket => {
                if let Some(socket) = other().filter(|_| self.streams.len() < MOST) {
                    let reused = self.streams.get(&id).is_some_and(|(_, reused)| *reused);
                    self.streams.insert(id, (socket, reused));
                }
            }
            What::SocketPoolReusedAnExistingSocket => {
                if self.streams.len() < MOST {
                    self.streams.entry(id).or_default().1 = true;
                }
            }
            What::SessionInitialized => {
                if let Some(socket) = other().filter(|_| self.sessions.len() < MOST) {
                    self.sessions.insert(id, socket);
                }
            }
            What::SessionFound => {
                if let Some(socket) =
                    other().and_then(|session| self.sessions.get(&session)).filter(|_| self.streams.len() < MOST)
                {
                    self.streams.insert(id, (*socket, true));
                }
            }
            What::UrlRequestStartJob
            | What::HttpStreamRequestBoundToJob
            | What::HttpTransactionSendRequest
            | What::HttpTransactionReadHeaders => {
                if let Some(asked) = kept(&mut self.requests, id, &mut self.beyond) {
                    asked.note(what, begin, end, at, other(), params);
                }
            }
        }
    }

    fn lookup(&mut self, begin: bool, end: bool, id: u64, at: Ms, params: &Params) {
        if let Some(job) = kept_job(&mut self.jobs, id) {
            job.lookup.note(begin, end, at, params);
        }
        if let (true, Some(host)) = (begin && self.asking.len() < MOST, params.host.full()) {
            let stretch = Stretch { began: Some(at), ..Stretch::default() };
            self.asking.insert(id, Lookup { host: shortened(host).to_owned(), stretch });
        }
        if let Some(mut lookup) = end.then(|| self.asking.remove(&id)).flatten()
            && self.looked_up.len() < MOST
        {
            lookup.stretch.note(false, true, at, params);
            self.looked_up.push(lookup);
        }
    }

    /// The lookup that a socket waited for: its job's own, or the latest of the same name that ended just before TCP began.
    fn lookup_of(&self, socket: &Socket) -> Option<Stretch> {
        let job = self.jobs.get(&socket.job?)?;
        let began = socket.tcp.began;
        let before =
            |lookup: &Stretch| lookup.ended.zip(began).is_some_and(|(ended, began)| (0..=LOOKUP_FITS).contains(&(began - ended)));
        let own = Some(job.lookup).filter(|lookup| before(lookup) || lookup.began.is_some() && began.is_none());
        let same = |lookup: &&Lookup| Some(&lookup.host) == job.to.as_ref() && before(&lookup.stretch);
        own.or_else(|| self.looked_up.iter().rfind(same).map(|lookup| lookup.stretch))
    }

    /// Hands everything over: sockets with the requests that used them first, in the order in which they were made, then other requests.
    pub(super) fn finish(mut self, found: &mut Found<'_, '_>) {
        let mut later = Vec::new();
        for (id, asked) in &self.requests {
            let stream = asked.stream.and_then(|stream| self.streams.get(&stream));
            match stream.and_then(|(socket, reused)| Some((self.sockets.get_mut(socket)?, *reused))) {
                Some((socket, false)) if socket.user.is_none() => socket.user = Some(*id),
                used => later.push((*id, used.map(|_| stream.map_or(0, |(socket, _)| *socket)))),
            }
        }
        if self.beyond > 0 {
            found.skip(Reason::TooMany, Place { unit: Unit::Socket, number: MOST as u64 });
        }
        for (id, socket) in &self.sockets {
            let place = Place { unit: Unit::Socket, number: *id };
            match self.connection(place, socket) {
                Some(request) => found.request(request),
                None => found.skip(Reason::Other, place),
            }
        }
        for (id, socket) in later {
            let asked = self.requests.get(&id);
            if let Some(request) = asked.and_then(|asked| self.used_again(id, asked, socket)) {
                found.request(request);
            }
        }
    }

    fn connection(&self, place: Place, socket: &Socket) -> Option<Request> {
        socket.tcp.began.or(socket.tls.began)?;
        let asked = socket.user.and_then(|user| self.requests.get(&user));
        let lookup = self.lookup_of(socket);
        let began = [lookup.and_then(|l| l.began), socket.tcp.began, socket.tls.began].into_iter().flatten().min()?;
        let tls = socket.tls();
        let error = socket.tcp.error.or(socket.tls.error).or(asked.and_then(|asked| asked.error));
        // The request waited for this connection: it was not made ahead.
        let asked_after = asked.filter(|asked| asked.sent.began.is_some());
        let (sent, first_byte) = asked_after.map_or((None, None), Asked::times);
        let handshake_done = tls.and_then(|tls| tls.done).or(socket.tcp.step().and_then(|tcp| tcp.done));
        let done = if sent.is_some() {
            first_byte
        } else {
            handshake_done.filter(|_| socket.tls.began.is_none() || tls.is_some_and(|tls| tls.done.is_some()))
        };
        let given_up =
            [socket.tcp.ended.filter(|_| socket.tcp.error.is_some()), socket.tls.ended.filter(|_| socket.tls.error.is_some())];
        let last = given_up.into_iter().flatten().max().or(self.last).unwrap_or(began);
        let trace = AppTrace {
            started: instant(began),
            queued: None,
            lookup: lookup.and_then(|lookup| lookup.step()),
            connect: socket.tcp.step(),
            tls,
            sent: sent.filter(|sent| handshake_done.is_some_and(|done| done <= *sent)),
            first_byte,
            ended: done.unwrap_or(instant(last)),
            complete: done.is_some(),
            reused: false,
            host: None,
        };
        let mut unknown: EnumSet<Unknown> = Unknown::Attempts.into();
        if lookup.is_none() {
            unknown |= Unknown::Lookup;
        }
        if trace.tls.is_some_and(|tls| tls.flight.is_none()) {
            unknown |= Unknown::TlsMessages;
        }
        let mut request = self.request(place, trace, unknown, asked, began);
        request.client = socket.local.as_deref().and_then(endpoint).map(Into::into).unwrap_or_default();
        request.server = socket.remote.as_deref().and_then(endpoint).map(Into::into).unwrap_or_default();
        request.random = socket.random;
        request.version.clone_from(&socket.version);
        request.error = error.map(|error| format!("net error {error}"));
        if !matches!(&request.seen, Seen::Client(trace) if trace.complete) && request.error.is_none() {
            request.unknown |= Unknown::Rest;
        }
        request.say_what_is_absent();
        Some(request)
    }

    /// A request on a connection that others had used.
    fn used_again(&self, id: u64, asked: &Asked, socket: Option<u64>) -> Option<Request> {
        let began = asked.sent.began?;
        let (sent, first_byte) = asked.times();
        let trace = AppTrace {
            started: instant(began),
            queued: None,
            lookup: None,
            connect: None,
            tls: None,
            sent,
            first_byte,
            ended: first_byte.unwrap_or(instant(self.last.unwrap_or(began))),
            complete: first_byte.is_some(),
            reused: true,
            host: None,
        };
        let unknown = if socket.is_some() { EnumSet::empty() } else { Unknown::Reuse.into() };
        let place = Place { unit: Unit::Socket, number: socket.unwrap_or(id) };
        let mut request = self.request(place, trace, unknown, Some(asked), began);
        if let Some(socket) = socket.and_then(|socket| self.sockets.get(&socket)) {
            request.client = socket.local.as_deref().and_then(endpoint).map(Into::into).unwrap_or_default();
            request.server = socket.remote.as_deref().and_then(endpoint).map(Into::into).unwrap_or_default();
            request.random = socket.random;
            request.version.clone_from(&socket.version);
        }
        request.error = asked.error.map(|error| format!("net error {error}"));
        request.say_what_is_absent();
        Some(request)
    }

    fn request(&self, place: Place, trace: AppTrace, unknown: EnumSet<Unknown>, asked: Option<&Asked>, began: Ms) -> Request {
        let mut request = Request::new(place, Source::NetLog, Seen::Client(trace), unknown);
        if let Some(url) = asked.and_then(|asked| asked.url.as_deref()) {
            request.asked_for(url);
        }
        let wall = self.offset.map(|offset| offset + began as f64).filter(|ms| (0.0..9e12).contains(ms));
        request.when = wall.map(|ms| When { ns: ms as i64 * 1_000_000, precision: Span::from_millis(1), zone_known: true });
        request
    }
}

impl Asked {
    fn note(&mut self, what: What, begin: bool, end: bool, at: Ms, other: Option<u64>, params: &Params) {
        match what {
            What::UrlRequestStartJob => {
                if begin {
                    self.url = params.url.full().map(|url| shortened(url).to_owned()).or(self.url.take());
                    self.began.get_or_insert(at);
                }
                self.error = self.error.or(params.net_error.0.filter(|error| *error < 0.0).map(|error| error as i64));
            }
            What::HttpStreamRequestBoundToJob => self.stream = self.stream.or(other),
            What::HttpTransactionSendRequest => self.sent.note(begin, end, at, params),
            _ => self.headers.note(begin, end, at, params),
        }
    }

    /// When it had been sent, and when its answer came.
    fn times(&self) -> (Option<Instant<Client>>, Option<Instant<Client>>) {
        let answered = self.headers.ended.filter(|_| self.headers.error.is_none());
        (self.sent.ended.or(self.sent.began).map(instant), answered.map(instant))
    }
}

/// The entry of a source, if there is room for it.
fn kept<'a, T: Default>(sources: &'a mut BTreeMap<u64, T>, id: u64, beyond: &mut u64) -> Option<&'a mut T> {
    if sources.len() >= MOST && !sources.contains_key(&id) {
        *beyond += 1;
        return None;
    }
    Some(sources.entry(id).or_default())
}

fn kept_job(jobs: &mut HashMap<u64, Job>, id: u64) -> Option<&mut Job> {
    (jobs.len() < MOST || jobs.contains_key(&id)).then(|| jobs.entry(id).or_default())
}
