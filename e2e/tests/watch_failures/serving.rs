//! What is served: behind TLS and a token; `/probe` as blackbox_exporter's users know it.

use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::http::Http;
use e2e::ports::free_port;
use e2e::waiting::wait_for;

use crate::watcher::{Config, Place, Watch};

#[test]
fn guarded() {
    let mut t = Checks::new();
    let place = Place::new();
    let (edge, store) = (Edge::opened(&place.certificates), place.path("store.db"));
    let (token, own) = (place.write("token", "s3cret\n"), &place.certificates);
    let lines = format!(
        "auth = {{ bearer = {{ file = \"{}\" }} }}\ntls = {{ certificate = \"{}\", key = \"{}\" }}",
        token.display(),
        own.cert.display(),
        own.key.display()
    );
    let config = Config::new(&place, edge.port, free_port(), &store);
    let watch = Watch::start(&place, &Config { watch: &lines, ..config }.text());
    let http = Http::trusting(own);
    let get = |path: &str, token: &str| http.get_with(&watch.secure_url(path), &[("Authorization", token)]);
    t.check("it begins", wait_for(20, || http.get(&watch.secure_url("/-/healthy")).status == 200), || watch.log());
    let answer = http.get(&watch.secure_url("/metrics"));
    t.check("without the token: 401", answer.status == 401, || answer);
    let answer = get("/metrics", "Bearer s3cre7");
    t.check("with a wrong one: 401", answer.status == 401, || answer);
    let (metrics, page) = (get("/metrics", "Bearer s3cret"), get("/", "Bearer s3cret"));
    let text = metrics.text();
    t.check("with the token, over TLS: metrics", metrics.status == 200 && text.contains("whostalled_"), || metrics);
    let told = text.contains("s3cret") || page.text().contains("s3cret");
    t.check("the secret is nowhere", page.status == 200 && !told, || page);
    watch.over(&mut t);
}

#[test]
fn the_contract_of_probe() {
    let mut t = Checks::new();
    let place = Place::new();
    let (edge, store) = (Edge::opened(&place.certificates), place.path("store.db"));
    let tls = format!("tls_config: {{ ca_file: {} }}", place.certificates.ca.display());
    let modules = format!(
        "modules:
  web: {{ prober: http, http: {{ {tls}, fail_if_body_not_matches_regexp: ['^ok'] }} }}
  no: {{ prober: http, http: {{ {tls}, fail_if_body_matches_regexp: ['ok'] }} }}
  shake: {{ prober: tcp, tcp: {{ tls: true, {tls} }} }}
"
    );
    let blackbox = format!("blackbox = \"{}\"", place.write("blackbox.yml", &modules).display());
    let config = Config::new(&place, edge.port, free_port(), &store);
    let watch = Watch::start(&place, &Config { watch: &blackbox, ..config }.text());
    t.check("it begins", wait_for(20, || watch.is_good("target")), || watch.log());
    let http = Http::plain();
    let probe = |query: String| http.get(&watch.url(&format!("/probe?{query}")));
    let port = edge.port;

    let answer = probe(format!("module=web&target=https://localhost:{port}/"));
    let body = answer.text();
    let says = |body: &str, all: &[&str]| all.iter().all(|words| body.contains(words));
    let phases = ["resolve", "connect", "tls", "processing", "transfer"].map(|phase| format!("phase=\"{phase}\""));
    let complete = says(&body, &["probe_success 1"]) && phases.iter().all(|phase| body.contains(phase));
    t.check("/probe: every phase of a good probe", answer.status == 200 && complete, || &body);
    let certificate = ["probe_ssl_earliest_cert_expiry ", "subjectalternative=\"localhost\"", "probe_http_status_code 200"];
    t.check("/probe: the certificate's end", says(&body, &certificate), || &body);

    let body = probe(format!("module=no&target=https://localhost:{port}/")).text();
    let failed = ["probe_success 0", "probe_failed_due_to_regex 1"];
    t.check("/probe: a regular expression that must not match", says(&body, &failed), || body);

    let answer = probe(format!("module=web&target=https://127.0.0.1:{}/", free_port()));
    let body = answer.text();
    let zero = ["probe_success 0", "probe_http_status_code 0", "phase=\"tls\"} 0", "phase=\"processing\"} 0"];
    t.check(
        "/probe: a failed probe is 200 with success 0, as is its status code",
        answer.status == 200 && says(&body, &zero),
        || body,
    );

    let body = probe(format!("module=shake&target=localhost:{port}")).text();
    let shaken = ["probe_success 1", "probe_tls_version_info"];
    t.check("/probe: the tcp module with TLS", says(&body, &shaken), || body);

    let codes = (probe("module=web".into()).status, probe("target=a&module=nothing".into()).status);
    t.check("/probe: no target is 400", codes == (400, 400), || codes);

    let answer = http.get_with(&watch.url("/metrics"), &[("Accept", "application/vnd.google.protobuf")]);
    let binary = answer.kind.contains("protobuf") && answer.text().contains("whostalled_round_duration");
    t.check("/metrics as protocol buffers (native histograms)", binary, || answer.kind);
    watch.over(&mut t);
}
