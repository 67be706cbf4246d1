//! What is served: page, metrics, `/probe`. Loopback unless told otherwise; HTTPS and a password or token by configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alerting::clock::UnixSeconds;
use alerting::secret::SecretError;
use alerting::store::Refused;
use analysis::clock::Instant;
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use base64::Engine;
use serving::exposition::{Exposition, Scrape};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::blackbox::{self, Blackbox, ProbeError};
use crate::checks::Auth;
use crate::clock::{UnixHour, instant};
use crate::error::FileError;
use crate::fleet::controller::locked;
use crate::fleet::matrix::Matrix;
use crate::fleet::metrics::FleetMetrics;
use crate::fleet::page as fleet_page;
use crate::incidents::TWO_WEEKS;
use crate::metrics::Metrics;
use crate::page;
use crate::status::Status;
use crate::store::{History, HistoryError};
use crate::tls_cache::TlsCache;

/// Rounds on a check's page.
const ROUNDS: u32 = 30;
/// TLS handshakes under way with those who look.
const MOST_HANDSHAKES: usize = 64;

/// What the server shows.
pub struct Served {
    /// Now.
    pub status: Arc<Status>,
    /// Numbers, and what the page is of.
    pub shown: Shown,
    /// The past.
    pub store: std::sync::Mutex<History>,
    /// Where we are.
    pub vantage: String,
    /// Modules of `/probe`.
    pub blackbox: tokio::sync::watch::Receiver<Arc<Blackbox>>,
    /// How `/probe` speaks TLS.
    pub tls: TlsCache,
    /// Who reads the files again, and says how it went.
    pub reload: Sender<Reload>,
    /// Who may look.
    pub guard: Option<Guard>,
    /// How it is reached, for links in tickets.
    pub base: String,
}

/// A request to have the files read again: where the outcome is told.
pub type Reload = tokio::sync::oneshot::Sender<Result<(), Arc<FileError>>>;
/// What the page is of.
#[derive(Clone)]
pub enum Shown {
    /// This host's own rounds.
    Watcher(Arc<Metrics>),
    /// Agents'.
    Fleet {
        /// Numbers.
        metrics: Arc<FleetMetrics>,
        /// What is known now.
        matrix: Arc<Mutex<Matrix>>,
    },
}

impl Shown {
    pub(crate) fn exposition(&self) -> &Exposition {
        match self {
            Shown::Watcher(metrics) => &metrics.exposition,
            Shown::Fleet { metrics, .. } => &metrics.exposition,
        }
    }
}

/// Who may look, with the secret read.
pub enum Guard {
    /// The whole header that is right.
    Header(String),
}

impl Guard {
    /// Reads the secret.
    ///
    /// # Errors
    /// If it is not there.
    pub fn of(auth: &Auth) -> Result<Self, SecretError> {
        Ok(Guard::Header(match auth {
            Auth::Basic { user, password } => {
                let pair = format!("{user}:{}", password.read()?);
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
            Auth::Bearer(token) => format!("Bearer {}", token.read()?),
        }))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Guard::Header(right) = self;
        let given = headers.get(header::AUTHORIZATION).map_or(&[][..], |v| v.as_bytes());
        // Every byte is compared, whatever the others are: the time tells nothing of the secret but its length.
        given.ct_eq(right.as_bytes()).into()
    }
}

/// The routes.
pub fn router(served: Arc<Served>) -> Router {
    Router::new()
        .route("/", get(now))
        .route("/check/{name}", get(check))
        .route("/incidents", get(incidents))
        .route("/api/checks", get(api))
        .route("/metrics", get(metrics))
        .route("/probe", any(probe))
        .route("/config", get(config))
        .route("/-/reload", any(reload))
        .layer(middleware::from_fn_with_state(Arc::clone(&served), guard))
        .route("/-/healthy", get(|| async { "Healthy" }))
        .with_state(served)
}

async fn guard(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    match &served.guard {
        Some(guard) if !guard.admits(request.headers()) => (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Basic realm=\"whostalled\", Bearer")],
            "authentication required\n",
        )
            .into_response(),
        _ => next.run(request).await,
    }
}

impl Served {
    fn with_store<T: Default>(&self, ask: impl FnOnce(&History) -> Result<T, HistoryError>) -> T {
        let store = self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ask(&store).unwrap_or_else(|error| {
            self.status.trouble("store", Some(error.to_string()));
            T::default()
        })
    }

    fn two_weeks_ago() -> UnixHour {
        UnixHour::of_second(UnixSeconds::now() - TWO_WEEKS)
    }
}

async fn now(State(served): State<Arc<Served>>) -> Html<String> {
    let snapshot = served.status.snapshot();
    if let Shown::Fleet { matrix, .. } = &served.shown {
        return Html(fleet_page::now(&snapshot, &locked(matrix)));
    }
    let trend = |name: &String| (name.clone(), served.with_store(|s| s.trend(name, "total", Served::two_weeks_ago())));
    let trends: BTreeMap<String, page::Trend> = snapshot.checks.by_name.keys().take(200).map(trend).collect();
    Html(page::now(&snapshot, &served.vantage, &trends))
}

/// Which rounds of a check.
#[derive(serde::Deserialize)]
struct Which {
    /// Those up to then.
    until: Option<UnixSeconds>,
}

async fn check(State(served): State<Arc<Served>>, Path(name): Path<String>, Query(which): Query<Which>) -> Response {
    let until = which.until.map_or(Instant::from_nanos(i64::MAX), |until| instant(until + Duration::from_secs(1)));
    let rounds = served.with_store(|s| s.rounds(&name, until, ROUNDS));
    let snapshot = served.status.snapshot();
    let known = match &served.shown {
        Shown::Watcher(_) => snapshot.checks.by_name.contains_key(&name),
        Shown::Fleet { matrix, .. } => fleet_page::is_known(&locked(matrix), &name),
    };
    if rounds.is_empty() && !known {
        return (StatusCode::NOT_FOUND, format!("there is no check {name:?}\n")).into_response();
    }
    let phases = ["total", "dns", "connect", "client_hello", "server_flight", "client_finished", "finish", "request"];
    let trend = |what| (what, served.with_store(|s| s.trend(&name, what, Served::two_weeks_ago())));
    let trends: Vec<(&str, page::Trend)> = phases.into_iter().map(trend).collect();
    if let Shown::Fleet { matrix, .. } = &served.shown
        && let Some(page) = fleet_page::check(&snapshot, &locked(matrix), &name, &trends)
    {
        return Html(page).into_response();
    }
    Html(page::check(&snapshot, &name, &rounds, &trends, &served.base)).into_response()
}

async fn incidents(State(served): State<Arc<Served>>) -> Html<String> {
    let now = UnixSeconds::now();
    let found = served.with_store(|s| Ok(s.alerts().incidents(now - TWO_WEEKS)?));
    Html(page::incident_page(&served.status.snapshot(), &found, now))
}

async fn api(State(served): State<Arc<Served>>) -> Response {
    let snapshot = served.status.snapshot();
    if let Shown::Fleet { matrix, .. } = &served.shown {
        return axum::Json(fleet_page::json(&snapshot, &locked(matrix))).into_response();
    }
    let check = |(name, c): (&String, &crate::status::CheckStatus)| serde_json::json!({ "name": name, "target": c.target, "alert": c.active, "last": c.last });
    let checks: Vec<serde_json::Value> = snapshot.checks.by_name.iter().map(check).collect();
    let refused = |r: &Refused| serde_json::json!({ "receiver": r.receiver, "at": r.at, "why": r.why, "message": r.event });
    let refused: Vec<serde_json::Value> = snapshot.alerts.refused.iter().map(refused).collect();
    let (sick, trouble) = (&snapshot.checks.sick, &snapshot.alerts.trouble);
    axum::Json(
        serde_json::json!({ "vantage": served.vantage, "sick": sick, "trouble": trouble, "refused": refused, "checks": checks }),
    )
    .into_response()
}

async fn metrics(State(served): State<Arc<Served>>, Query(query): Query<Vec<(String, String)>>, headers: HeaderMap) -> Response {
    served.shown.exposition().response(&Scrape::of(query, &headers))
}

/// The parameters of a question: of one that is repeated the first counts, as in Go.
fn first_of_each(all: Vec<(String, String)>) -> BTreeMap<String, String> {
    all.into_iter().rev().collect()
}

async fn probe(State(served): State<Arc<Served>>, Query(query): Query<Vec<(String, String)>>, headers: HeaderMap) -> Response {
    let modules = Arc::clone(&served.blackbox.borrow());
    let patience = headers.get("X-Prometheus-Scrape-Timeout-Seconds").filter(|value| !value.is_empty());
    let patience = patience.map(|value| value.to_str().ok().and_then(|value| value.parse::<f64>().ok()));
    if patience == Some(None) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "Failed to parse timeout from Prometheus header\n").into_response();
    }
    let patience = patience.flatten().filter(|p| *p > 0.0).and_then(|p| Duration::try_from_secs_f64(p).ok());
    match blackbox::probe(&modules, &first_of_each(query), patience, &served.tls).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            if let (ProbeError::UnknownModule(_), Shown::Watcher(metrics)) = (&error, &served.shown) {
                metrics.blackbox.unknown_modules.inc();
            }
            (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
        }
    }
}

async fn config(State(served): State<Arc<Served>>) -> Response {
    let text = served.blackbox.borrow().shown.clone();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Reads the check file and the blackbox file again, and says how it went.
async fn reload(State(served): State<Arc<Served>>, method: Method) -> Response {
    if !matches!(method, Method::POST | Method::PUT) {
        let allowed = [(header::ALLOW, "POST, PUT")];
        return (StatusCode::METHOD_NOT_ALLOWED, allowed, "This endpoint requires a POST request.\n").into_response();
    }
    let (told, outcome) = tokio::sync::oneshot::channel();
    // Nobody hears any more: the watcher is about to end.
    let _ = served.reload.send(told);
    match outcome.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the watcher is about to end\n").into_response(),
    }
}

/// Serves until the runtime ends.
///
/// # Errors
/// If the socket breaks.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, routes: Router) -> std::io::Result<()> {
    match tls {
        None => axum::serve(listener, routes).await,
        Some(acceptor) => axum::serve(Encrypted::new(listener, acceptor), routes).await,
    }
}

/// A listener whose connections have their handshake behind them; a slow one holds up nobody else.
struct Encrypted {
    ready: tokio::sync::mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Encrypted {
    fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        let (done, ready) = tokio::sync::mpsc::channel(MOST_HANDSHAKES);
        let address = listener.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        tokio::spawn(async move {
            let slots = Arc::new(tokio::sync::Semaphore::new(MOST_HANDSHAKES));
            loop {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                let Ok((stream, peer)) = listener.accept().await else { continue };
                let (acceptor, done) = (acceptor.clone(), done.clone());
                tokio::spawn(async move {
                    let shaken = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        let _ = done.send((stream, peer)).await;
                    }
                    drop(slot);
                });
            }
        });
        Self { ready, address }
    }
}

impl axum::serve::Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await, // the runtime is going down
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn of_a_parameter_that_is_repeated_the_first_counts() {
        let asked = |query: &str| {
            let uri = format!("http://a.test/probe?{query}").parse().expect("an address");
            let Query(all) = Query::try_from_uri(&uri).expect("a query");
            first_of_each(all).into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(asked("module=a&target=x&module=b&target=y"), "module=a target=x");
        assert_eq!(asked("module=&module=b&target&target=y"), "module= target=");
    }

    #[test]
    fn only_the_whole_secret_is_admitted() {
        let guard = Guard::Header("Bearer s3cret".into());
        let admits =
            |value: &'static str| guard.admits(&HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]));
        assert!(admits("Bearer s3cret"));
        for wrong in ["", "Bearer s3cre", "Bearer s3cret ", "Bearer s3creT", "aearer s3cret", "s3cret"] {
            assert!(!admits(wrong), "{wrong:?}");
        }
        assert!(!guard.admits(&HeaderMap::new()), "nothing is no secret");
    }
}
