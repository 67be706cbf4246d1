//! TLS servers on loopback as programs of their own. In: certificates, a folder. Out: a child that listens, and its URL.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::ports::free_port;
use crate::process::{Running, binary, program};
use crate::waiting::wait_some;

/// The URL of a port of this host, by the name in our certificates.
#[must_use]
pub fn url(port: u16) -> String {
    format!("https://localhost:{port}/")
}

/// Waits until somebody listens on a port of this host.
///
/// # Panics
/// If nobody does within 10 s.
pub fn listening(port: u16) {
    let up = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
    wait_some(10, up).expect("the server begins to listen");
}

/// A server of ours that answers each ClientHello late.
#[must_use]
pub fn slow(certificates: &Certificates, folder: &Path, milliseconds: u32) -> (Running, String) {
    let port = free_port();
    let config = serde_json::json!({
        "listen": [format!("127.0.0.1:{port}")], "chain": certificates.cert, "key": certificates.key,
        "log": folder.join("slow.log"), "truth": folder.join("slow.truth"), "slow_ms": 1e9,
        "does": { "delays": { "server_hello_ms": milliseconds } }, "backlog": 64,
    });
    let mut command = Command::new(binary());
    let server = Running::start(command.arg("lab-edge").arg(config.to_string()).stderr(Stdio::null()));
    listening(port);
    (server, url(port))
}

/// `openssl s_server`.
#[must_use]
pub fn openssl(certificates: &Certificates) -> (Running, String) {
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}"), "-cert"]);
    command.arg(&certificates.cert).arg("-key").arg(&certificates.key).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Running::start(&mut command);
    listening(port);
    (server, url(port))
}

/// nginx, with its files in a folder `nginx` of `folder`.
///
/// # Panics
/// If it is not installed, or one is there already.
#[must_use]
pub fn nginx(certificates: &Certificates, folder: &Path) -> (Running, String) {
    let port = free_port();
    let (folder, Certificates { cert, key, .. }) = (folder.join("nginx"), certificates);
    std::fs::create_dir(&folder).expect("a folder of our own");
    let (at, cert, key) = (folder.display(), cert.display(), key.display());
    let config = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; client_body_temp_path {at}/b; \
         proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; server {{ \
         listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key}; return 200; }} }}\n"
    );
    std::fs::write(folder.join("conf"), config).expect("a folder of our own");
    let mut command = Command::new(program("nginx").expect("nginx is installed"));
    let server = Running::start(command.arg("-c").arg(folder.join("conf")).stderr(Stdio::null()));
    listening(port);
    (server, url(port))
}
