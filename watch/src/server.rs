//! What is served: page, metrics, `/probe`. Loopback unless told otherwise; HTTPS and a password or token by configuration.

use std::collections::BTreeMap;
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
    /// Who may look, as of now.
    pub guard: tokio::sync::watch::Receiver<Option<Guard>>,
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
#[derive(Clone)]
pub struct Guard {
    /// How somebody says who he is; any case will do (RFC 9110, 11.1).
    scheme: &'static str,
    /// What stands behind it if he may look.
    credentials: String,
}

impl Guard {
    /// Reads the secret.
    ///
    /// # Errors
    /// If it is not there.
    pub fn of(auth: &Auth) -> Result<Self, SecretError> {
        Ok(match auth {
            Auth::Basic { user, password } => {
                let pair = format!("{user}:{}", password.read()?);
                Self { scheme: "Basic", credentials: base64::engine::general_purpose::STANDARD.encode(pair) }
            }
            Auth::Bearer(token) => Self { scheme: "Bearer", credentials: token.read()? },
        })
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).map_or(&[][..], |v| v.as_bytes());
        let Some((scheme, given)) = given.split_at_checked(self.scheme.len()) else { return false };
        let spaces = given.iter().take_while(|b| **b == b' ').count();
        // Every byte is compared, whatever the others are: the time tells nothing of the secret but its length.
        spaces > 0
            && scheme.eq_ignore_ascii_case(self.scheme.as_bytes())
            && given[spaces..].ct_eq(self.credentials.as_bytes()).into()
    }

    /// What it asks for.
    fn challenge(&self) -> String {
        format!("{} realm=\"whostalled\"", self.scheme)
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
    let challenge = served.guard.borrow().as_ref().filter(|guard| !guard.admits(request.headers())).map(Guard::challenge);
    match challenge {
        Some(challenge) => {
            let asked = [(header::WWW_AUTHENTICATE, challenge)];
            (StatusCode::UNAUTHORIZED, asked, "authentication required\n").into_response()
        }
        None => next.run(request).await,
    }
}

impl Served {
    /// Asks the store on a thread of its own: this one delivers alerts, and a disk may be slow.
    async fn with_store<T: Default + Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&History) -> Result<T, HistoryError> + Send + 'static,
    ) -> T {
        let served = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let store = served.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            ask(&store).unwrap_or_else(|error| {
                served.status.trouble("store", Some(error.to_string()));
                T::default()
            })
        });
        asked.await.unwrap_or_default()
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
    let names: Vec<String> = snapshot.checks.by_name.keys().take(200).cloned().collect();
    let trends: BTreeMap<String, page::Trend> = served
        .with_store(move |s| {
            let trend = |name: String| Ok((name.clone(), s.trend(&name, "total", Served::two_weeks_ago())?));
            names.into_iter().map(trend).collect()
        })
        .await;
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
    let of = name.clone();
    let rounds = served.with_store(move |s| s.rounds(&of, until, ROUNDS)).await;
    let snapshot = served.status.snapshot();
    let known = match &served.shown {
        Shown::Watcher(_) => snapshot.checks.by_name.contains_key(&name),
        Shown::Fleet { matrix, .. } => fleet_page::is_known(&locked(matrix), &name),
    };
    if rounds.is_empty() && !known {
        return (StatusCode::NOT_FOUND, format!("there is no check {name:?}\n")).into_response();
    }
    let phases = ["total", "dns", "connect", "client_hello", "server_flight", "client_finished", "finish", "request"];
    let of = name.clone();
    let trends: Vec<(&str, page::Trend)> = served
        .with_store(move |s| {
            let trend = |what| Ok((what, s.trend(&of, what, Served::two_weeks_ago())?));
            phases.into_iter().map(trend).collect()
        })
        .await;
    if let Shown::Fleet { matrix, .. } = &served.shown
        && let Some(page) = fleet_page::check(&snapshot, &locked(matrix), &name, &trends)
    {
        return Html(page).into_response();
    }
    Html(page::check(&snapshot, &name, &rounds, &trends, &served.base)).into_response()
}

async fn incidents(State(served): State<Arc<Served>>) -> Html<String> {
    let now = UnixSeconds::now();
    let found = served.with_store(move |s| Ok(s.alerts().incidents(now - TWO_WEEKS)?)).await;
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
        let guard = Guard { scheme: "Bearer", credentials: "s3cret".into() };
        let admits =
            |value: &'static str| guard.admits(&HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]));
        assert!(admits("Bearer s3cret") && admits("bearer  s3cret"), "a scheme's case says nothing");
        assert_eq!(guard.challenge(), "Bearer realm=\"whostalled\"");
        for wrong in
            ["", "Bearer s3cre", "Bearer s3cret ", "Bearer s3creT", "aearer s3cret", "s3cret", "Bearers3cret", "Basic s3cret"]
        {
            assert!(!admits(wrong), "{wrong:?}");
        }
        assert!(!guard.admits(&HeaderMap::new()), "nothing is no secret");
    }
}
