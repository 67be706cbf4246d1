//! OpenTelemetry's environment variables.

use std::time::Duration;

use percent_encoding::percent_decode_str;

/// Between two reports of metrics, where nobody says.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long a trace waits for others.
const TOGETHER: Duration = Duration::from_secs(5);

/// What they ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Environment {
    /// Where traces go, if anywhere.
    pub traces: Option<String>,
    /// Where metrics go, if anywhere.
    pub metrics: Option<String>,
    /// Headers of each request; their values may be secrets.
    pub headers: Vec<(String, String)>,
    /// What all of it is about.
    pub resource: Vec<(String, String)>,
    /// Time between two reports of metrics.
    pub interval: Duration,
    /// How long a trace waits for others.
    pub together: Duration,
}

/// A variable asks for what is not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name}: {what}")]
pub struct Refused {
    /// Which.
    pub name: String,
    /// Why, and what to set instead.
    pub what: String,
}

impl Environment {
    /// Reads them by `get`; absent if they ask for nothing. `service`: the name of the service where none is set.
    ///
    /// # Errors
    /// Names the variable that asks for what is not done.
    pub fn read(service: &str, get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, Refused> {
        let get = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let (traces, metrics) = (endpoint("TRACES", &get)?, endpoint("METRICS", &get)?);
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let mut resource = pairs(&get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        match get("OTEL_SERVICE_NAME") {
            Some(name) => {
                resource.retain(|(key, _)| key != "service.name");
                resource.push(("service.name".into(), name));
            }
            None if resource.iter().any(|(key, _)| key == "service.name") => {}
            None => resource.push(("service.name".into(), service.to_owned())),
        }
        resource.push(("service.version".into(), env!("CARGO_PKG_VERSION").into()));
        let interval = match get("OTEL_METRIC_EXPORT_INTERVAL") {
            None => INTERVAL,
            Some(ms) => Duration::from_millis(ms.parse().ok().filter(|ms| *ms >= 100).ok_or_else(|| Refused {
                name: "OTEL_METRIC_EXPORT_INTERVAL".into(),
                what: format!("{ms:?} is no number of milliseconds, 100 at least"),
            })?),
        };
        let headers = pairs(&get("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default());
        Ok(Some(Self { traces, metrics, headers, resource, interval, together: TOGETHER }))
    }
}

/// Where one signal goes.
fn endpoint(signal: &str, get: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, Refused> {
    let refused = |name: &str, what: String| Refused { name: name.to_owned(), what };
    let exporter = format!("OTEL_{signal}_EXPORTER");
    match get(&exporter).as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => return Err(refused(&exporter, format!("{other:?}: it is otlp or none"))),
    }
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
    let (name, url) = match (get(&own), get("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        (Some(url), _) => (own.as_str(), url),
        (None, Some(base)) => {
            let path = signal.to_ascii_lowercase();
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/v1/{path}", base.trim_end_matches('/')))
        }
        (None, None) => return Ok(None),
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(refused(name, "write http://host:4318 or https://host:4318".into()));
    }
    for protocol in [format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL".into()] {
        match get(&protocol).as_deref() {
            // A collector takes JSON where it takes protocol buffers.
            None | Some("http/json" | "http/protobuf") => {}
            Some(other) => {
                return Err(refused(&protocol, format!("{other:?} is not spoken here: http/json, to a collector's port 4318")));
            }
        }
    }
    Ok(Some(url))
}

/// `a=b,c=d`, percent-encoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let each = text.split(',').filter_map(|pair| pair.split_once('='));
    each.map(|(name, value)| (decoded(name.trim()), decoded(value.trim()))).filter(|(name, _)| !name.is_empty()).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Option<Environment>, Refused> {
        let get = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Environment::read("whostalled-watch", &get)
    }

    #[test]
    fn nothing_is_sent_unless_somebody_is_named() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        let none = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")];
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), none[0], none[1]]), Ok(None));
    }

    #[test]
    fn signals_go_where_the_variables_say() {
        let found = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m/otlp"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret, x-scope=a"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod,service.name=other"),
            ("OTEL_SERVICE_NAME", "edge-checks"),
        ]);
        let found = found.expect("it is sound").expect("somebody is named");
        assert_eq!(
            (found.traces.as_deref(), found.metrics.as_deref()),
            (Some("http://c:4318/v1/traces"), Some("https://m/otlp"))
        );
        assert_eq!(found.headers[0], ("authorization".to_owned(), "Bearer s3cret".to_owned()));
        let names: Vec<&str> =
            found.resource.iter().filter(|(key, _)| key == "service.name").map(|(_, name)| name.as_str()).collect();
        assert_eq!((names, found.interval), (vec!["edge-checks"], INTERVAL));
    }

    #[test]
    fn what_is_not_spoken_is_refused_by_its_variable() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "c:4317"),
        ] {
            let refused = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), (name, value)]).expect_err(name);
            assert_eq!(refused.name, name, "{refused}");
        }
    }
}
