//! OpenMetrics text → OTLP metrics: what a scrape would get, for whoever is not scraped.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{attribute, nanos, resource, scope};

/// Sums since the beginning.
const CUMULATIVE: u8 = 2;

/// The kinds of families that we have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: String,
    unit: String,
    points: BTreeMap<Vec<(String, String)>, Point>,
}

#[derive(Default, Debug)]
struct Point {
    value: f64,
    sum: f64,
    count: u64,
    /// Upper bounds and how many lie below, each including those before.
    buckets: Vec<(f64, u64)>,
}

/// All of it as `ExportMetricsServiceRequest`.
pub(super) fn body(text: &str, about: &[(String, String)], begun: SystemTime, now: SystemTime) -> Value {
    let (begun, now) = (nanos(begun), nanos(now));
    let metrics: Vec<Value> = families(text).iter().map(|(name, family)| metric(name, family, &begun, &now)).collect();
    json!({ "resourceMetrics": [{ "resource": resource(about), "scopeMetrics": [{ "scope": scope(), "metrics": metrics }] }] })
}

fn metric(name: &str, family: &Family, begun: &str, now: &str) -> Value {
    let points = family.points.iter().map(|(labels, point)| {
        let attributes: Vec<Value> = labels.iter().map(|(name, value)| attribute(name, value)).collect();
        let mut said = json!({ "attributes": attributes, "timeUnixNano": now });
        match family.kind {
            Kind::Gauge => said["asDouble"] = json!(point.value),
            Kind::Counter => {
                said["startTimeUnixNano"] = json!(begun);
                said["asDouble"] = json!(point.value);
            }
            Kind::Histogram => {
                let bounds: Vec<f64> = point.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
                let below = std::iter::once(0).chain(point.buckets.iter().map(|(_, below)| *below));
                let counts: Vec<String> = point
                    .buckets
                    .iter()
                    .zip(below)
                    .map(|((_, below), before)| below.saturating_sub(before).to_string())
                    .collect();
                said["startTimeUnixNano"] = json!(begun);
                said["count"] = json!(point.count.to_string());
                said["sum"] = json!(point.sum);
                said["explicitBounds"] = json!(bounds);
                said["bucketCounts"] = json!(counts);
            }
        }
        said
    });
    let points: Vec<Value> = points.collect();
    let unit = match family.unit.as_str() {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    };
    let mut metric = json!({ "name": name, "description": family.help, "unit": unit });
    match family.kind {
        Kind::Gauge => metric["gauge"] = json!({ "dataPoints": points }),
        Kind::Counter => {
            metric["sum"] = json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true });
        }
        Kind::Histogram => metric["histogram"] = json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE }),
    }
    metric
}

/// Takes the text apart; kinds that we do not write are left out.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut help, mut units) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), words) => {
                help.insert(name, words.unwrap_or_default().trim_end_matches('.'));
            }
            (Some("#"), Some("UNIT"), Some(name), unit) => {
                units.insert(name, unit.unwrap_or_default());
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let kind = match kind {
                    "counter" => Kind::Counter,
                    "gauge" => Kind::Gauge,
                    "histogram" => Kind::Histogram,
                    _ => continue,
                };
                let family = Family { kind, help: String::new(), unit: String::new(), points: BTreeMap::new() };
                families.insert(name.to_owned(), family);
            }
            (Some("#"), ..) => {}
            _ => {
                // What is no sample of a family that we know is left out.
                let _ = sample(line, &mut families);
            }
        }
    }
    for (name, family) in &mut families {
        family.help = help.get(name.as_str()).map_or(String::new(), |text| (*text).to_owned());
        family.unit = units.get(name.as_str()).map_or(String::new(), |unit| (*unit).to_owned());
    }
    families
}

/// `name{label="value",…} value`, and perhaps an exemplar behind ` # `.
fn sample(line: &str, families: &mut BTreeMap<String, Family>) -> Option<()> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (mut labels, rest) = labels(rest)?;
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    let (family, part) = ["_total", "_bucket", "_sum", "_count", ""].into_iter().find_map(|suffix| {
        let base = name.strip_suffix(suffix)?;
        families.contains_key(base).then_some((base, suffix))
    })?;
    let family = families.get_mut(family)?;
    let bound = labels.iter().position(|(name, _)| name == "le").map(|at| labels.remove(at).1);
    let point = family.points.entry(labels).or_default();
    match (part, bound) {
        ("_bucket", Some(bound)) => point.buckets.push((bound.parse().unwrap_or(f64::INFINITY), value as u64)),
        ("_sum", _) => point.sum = value,
        ("_count", _) => point.count = value as u64,
        _ => point.value = value,
    }
    Some(())
}

type Labels = Vec<(String, String)>;

/// The labels that a text begins with, and what stands behind them.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Some((labels, text)) };
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((name.trim_start_matches(',').to_owned(), value));
        rest = after;
    }
}

/// A value up to its closing quote, its escapes undone.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Counters;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;
    use crate::exposition::Exposition;

    #[test]
    fn what_is_exposed_is_what_is_sent() {
        let mut registry = Registry::with_prefix("whostalled");
        let (rounds, on, took) =
            (Counters::<Vec<(String, String)>, Counter>::default(), Gauge::<i64>::default(), Histogram::new([0.1, 1.0]));
        registry.register("rounds", "Rounds", rounds.clone());
        registry.register("alert_firing", "Whether an alert is on", on.clone());
        registry.register_with_unit("round_duration", "Whole rounds", Unit::Seconds, took.clone());
        rounds.get_or_create(&vec![("check".into(), "a \"b\"\\".into())]).inc_by(3);
        on.set(1);
        [0.05, 0.5, 5.0].into_iter().for_each(|seconds| took.observe(seconds));
        let text = Exposition::new(vec![("all", registry)]).openmetrics().concat();
        let body = body(&text, &[], SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
        let metrics = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().expect("a list");
        let of = |name: &str| metrics.iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("{name}: {body}"));
        let counter = &of("whostalled_rounds")["sum"]["dataPoints"][0];
        assert_eq!((&counter["asDouble"], &counter["attributes"][0]["value"]["stringValue"]), (&json!(3.0), &json!("a \"b\"\\")));
        assert_eq!(of("whostalled_alert_firing")["gauge"]["dataPoints"][0]["asDouble"], 1.0);
        let histogram = of("whostalled_round_duration_seconds");
        assert_eq!(histogram["unit"], "s");
        let point = &histogram["histogram"]["dataPoints"][0];
        assert_eq!(
            (&point["count"], &point["bucketCounts"], &point["explicitBounds"]),
            (&json!("3"), &json!(["1", "1", "1"]), &json!([0.1, 1.0]))
        );
    }
}
