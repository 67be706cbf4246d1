//! How the prober `http` asks: request after request, as redirects lead, each over a connection of its own.

use std::time::{Duration, Instant};

use cookie_store::CookieStore;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use prober::http::{HttpRequest, Response};
use prober::{Pauses, Report, Route, Target, probe};
use url::Url;

use super::body::{MOST_BODY, Part, judge};
use super::families::Families;
use super::http::Http;
use super::redirect::{Request, target};
use super::reported::{addressed, certificates, durations, no_durations, resolved, verdict};
use super::{ProbeError, Question, Shared, choose};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 10;

impl Http {
    /// Asks, and follows redirects; whether it succeeded.
    pub(super) async fn probe(
        &self,
        question: &Question<'_>,
        shared: &Shared<'_>,
        found: &mut Families,
    ) -> Result<bool, ProbeError> {
        nothing_yet(found);
        let url = match target(question.target) {
            Ok(url) => url,
            Err(error) => {
                found.note(error);
                return Ok(false);
            }
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let asked = match Request::first(self, url, question.hostname) {
            Ok(first) => self.follow(first, question, shared, found).await,
            Err(error) => Err(error),
        };
        let asked = match asked {
            Ok(asked) => asked,
            Err(error @ (ProbeError::Question(_) | ProbeError::UnknownModule(_))) => return Err(error),
            Err(error @ (ProbeError::Configuration(_) | ProbeError::Secret(_) | ProbeError::Host(_))) => {
                let connected = matches!(error, ProbeError::Secret(_));
                found.note(error);
                if let Some((_, took)) = choose(&host, self.family(), question, shared, found).await {
                    no_durations(found, took.into(), connected);
                }
                return Ok(false);
            }
        };
        let (Some(first), Some(last)) = (asked.reports.first(), asked.reports.last()) else { return Ok(false) };
        let looked_up = !self.proxies.skips_lookup();
        if looked_up {
            addressed(found, first);
            resolved(found, first);
        }
        durations(found, &asked.reports, looked_up);
        verdict(found, last);
        found.gauge("probe_http_redirects", "The number of redirects", asked.redirects);
        let Some(response) = last.response.as_ref().filter(|_| !asked.astray) else { return Ok(false) };
        let encrypted = last.version.is_some();
        if encrypted {
            found.gauge("probe_http_ssl", "Indicates if SSL was used for the final redirect", 1);
            certificates(found, last, self.tls_config.insecure_skip_verify);
        }
        answered(found, response);
        let part = match (asked.unfollowed, last.success) {
            (true, _) => Part::Unread,
            (false, true) => Part::Whole,
            (false, false) => Part::Broken,
        };
        let opinion = judge(self, response, encrypted, part);
        found.gauge("probe_http_uncompressed_body_length", UNCOMPRESSED, opinion.length);
        found.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", i32::from(opinion.by_regex));
        opinion.why.iter().for_each(|why| found.note(why));
        Ok((last.success || asked.unfollowed) && opinion.good)
    }

    /// Goes from answer to answer.
    async fn follow(
        &self,
        first: Request,
        question: &Question<'_>,
        shared: &Shared<'_>,
        found: &mut Families,
    ) -> Result<Asked, ProbeError> {
        let deadline = Instant::now() + question.timeout;
        let mut cookies = CookieStore::default();
        let (mut asked, mut request) = (Asked::default(), first);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let report = probe(&self.target(&request, &cookies, left, shared)?, shared.lookup).await;
            found.note(format_args!("{} {} {}", request.method, shown(&request.url), outcome(&report)));
            let Some(response) = &report.response else {
                asked.reports.push(report);
                return Ok(asked);
            };
            remember(&mut cookies, response, &request.url);
            let location = response.header("location").unwrap_or_default().to_owned();
            // Its head is all of a redirect that counts: what becomes of its body is nobody's concern.
            let next = request.redirected(response.status, &location);
            asked.reports.push(report);
            match next {
                Ok(None) => return Ok(asked),
                Err(error) => {
                    // There is no answer where it should have come from.
                    found.note(error);
                    (asked.redirects, asked.astray) = (asked.redirects + 1, true);
                    return Ok(asked);
                }
                Ok(Some(next)) => {
                    asked.redirects += 1;
                    if !self.follows() || asked.redirects > MOST_REDIRECTS {
                        asked.unfollowed = true;
                        return Ok(asked);
                    }
                    request = next;
                }
            }
        }
    }

    fn target(
        &self,
        request: &Request,
        cookies: &CookieStore,
        timeout: Duration,
        shared: &Shared<'_>,
    ) -> Result<Target, ProbeError> {
        let encrypted = request.url.scheme() == "https";
        let protocols: &[&str] = if self.enable_http2.unwrap_or(true) { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let mut options = self.tls_config.options(protocols);
        options.certificate = options.certificate.filter(|_| request.certificate);
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let proxy = self.proxies.proxy(&request.url, environment).map_err(ProbeError::Configuration)?;
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        // What somebody will look at is kept; of the rest only the length counts.
        let keep_body = if self.wants_body() { MOST_BODY } else { 0 };
        let packed = !matches!(self.compression.as_str(), "" | "identity");
        Ok(Target {
            host: request.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: request.url.port_or_known_default().unwrap_or(80),
            connect_to: None,
            address: None,
            server_name: request.server_name.clone(),
            family: self.family(),
            tls: encrypted.then(|| shared.cache.get(options)).transpose()?,
            request: Some(HttpRequest {
                method: request.method.clone(),
                path: format!("{}{query}", request.url.path()),
                headers: with_cookies(&request.headers, cookies, &request.url),
                body: request.body.clone(),
                keep_body,
                most_body: Some(self.body_size_limit.0).filter(|most| *most > 0 && !packed),
                head_only: false,
                redirect_by_head: self.follows(),
                lenient: true,
            }),
            timeout,
            pauses: Pauses::default(),
            route: Route { one_address: true, source: None, proxy },
        })
    }
}

/// Requests and their answers.
#[derive(Default)]
struct Asked {
    reports: Vec<Report>,
    redirects: usize,
    /// The last answer is a redirect that was not followed.
    unfollowed: bool,
    /// It leads where nobody can go.
    astray: bool,
}

const UNCOMPRESSED: &str = "Length of uncompressed response body";

/// What the exporter says before anything has happened.
fn nothing_yet(found: &mut Families) {
    found.gauge("probe_http_redirects", "The number of redirects", 0);
    found.gauge("probe_http_ssl", "Indicates if SSL was used for the final redirect", 0);
    found.gauge("probe_http_status_code", "Response HTTP status code", 0);
    found.gauge("probe_http_version", "Returns the version of HTTP of the probe response", 0);
    found.gauge("probe_http_content_length", "Length of http content response", 0);
    found.gauge("probe_http_uncompressed_body_length", UNCOMPRESSED, 0);
    found.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", 0);
}

fn answered(found: &mut Families, response: &Response) {
    let said = response.header("content-length").and_then(|v| v.trim().parse::<i64>().ok());
    let length = match said {
        _ if matches!(response.status, 204 | 304) => 0,
        _ if response.header("transfer-encoding").is_some() => -1,
        Some(length) => length,
        // What is known to be empty without being said to be; else nobody knows before the end.
        None if response.version == 20 && response.body_len == 0 => 0,
        None => -1,
    };
    found.gauge("probe_http_status_code", "Response HTTP status code", response.status);
    let version = f64::from(response.version) / 10.0;
    found.gauge("probe_http_version", "Returns the version of HTTP of the probe response", version);
    found.gauge("probe_http_content_length", "Length of http content response", length);
    if let Some(at) = response.header("last-modified").and_then(seconds) {
        let help = "Returns the Last-Modified HTTP response header in unixtime";
        found.gauge("probe_http_last_modified_timestamp_seconds", help, at);
    }
}

/// A time in one of HTTP's three forms (RFC 9110, section 5.6.7), in seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    ["%a, %d %b %Y %T GMT", "%A, %d-%b-%y %T GMT", "%a %b %e %T %Y"].into_iter().find_map(|form| {
        let mut read = strtime::parse(form, text).ok()?;
        // Nobody asks whether it was one.
        read.set_weekday(None);
        Some(read.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    })
}

fn remember(cookies: &mut CookieStore, response: &Response, url: &Url) {
    for cookie in response.headers_named("set-cookie") {
        // One that cannot be read, or is for somebody else, is none.
        let _ = cookies.parse(cookie, url);
    }
}

/// Headers with the cookies for an address, beside those that the module has.
fn with_cookies(headers: &[(String, String)], cookies: &CookieStore, url: &Url) -> Vec<(String, String)> {
    let mut headers = headers.to_vec();
    let set = cookies.get_request_values(url).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    if !set.is_empty() {
        match headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("cookie")) {
            Some((_, own)) => *own = format!("{own}; {set}"),
            None => headers.push(("Cookie".into(), set)),
        }
    }
    headers
}

/// An address as it may be shown: without whom it names.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // An address that has a host can be without them.
    let _ = (url.set_username(""), url.set_password(None));
    url.into()
}

fn outcome(report: &Report) -> String {
    match (&report.response, report.reason) {
        (Some(response), None) => format!("→ {}", response.status),
        (_, Some(reason)) => format!("→ {reason}: {}", report.detail.as_deref().unwrap_or_default()),
        (None, None) => "→ nothing".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, headers: &[(&str, &str)]) -> String {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut found = Families::default();
        answered(&mut found, &Response { status, version: 11, headers, ..Response::default() });
        found.text()
    }

    #[test]
    fn the_length_is_what_can_be_known_of_it() {
        let length = ("Content-Length", "5");
        for (status, headers, known) in [
            (200, &[length][..], 5),
            (200, &[], -1),
            (200, &[length, ("Transfer-Encoding", "chunked")], -1),
            (304, &[length], 0),
            (204, &[length], 0),
            (204, &[("transfer-encoding", "chunked")], 0),
        ] {
            let said = said(status, headers);
            assert!(said.contains(&format!("\nprobe_http_content_length {known}\n")), "{status} {headers:?}: {said}");
        }
    }

    #[test]
    fn when_it_was_modified_is_said_in_any_of_https_forms() {
        for (at, known) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("mon, 06 nov 1994 08:49:37 GMT", 784_111_777),
            ("Fri, 01 Jan 1960 00:00:00 GMT", -315_619_200),
        ] {
            let said = said(200, &[("Last-Modified", at)]);
            assert!(said.contains(&format!("\nprobe_http_last_modified_timestamp_seconds {known}\n")), "{at}: {said}");
        }
        for none in ["yesterday", "1994-11-06", "Sun, 06 Nov 1994 08:49:37 +0100"] {
            assert!(!said(200, &[("Last-Modified", none)]).contains("last_modified"), "{none}");
        }
    }
}
