//! The stacks of other people that a draw may put into a scenario: their names, what they need here, their command lines.
//!
//! In: a folder for what must be built (Go). Out: [`Stacks`], those that are installed. The zoo drives its stacks by hooks of its own;
//! these are the ordinary clients and servers of each language, a process a handshake. Java is left to the zoo: a virtual machine that
//! has just begun is slow by itself in its first handshake, and that is no scenario's fault.

use std::path::{Path, PathBuf};
use std::process::Command;

use agent::TlsVersion;
use lab::host::installed;

use crate::Error;

/// The request of clients that speak no HTTP.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n";

/// The version's number.
pub(super) fn digits(tls: TlsVersion) -> &'static str {
    match tls {
        TlsVersion::V12 => "1.2",
        // What all of these stacks agree on.
        TlsVersion::V13 | TlsVersion::Any => "1.3",
    }
}

/// A client program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Client {
    /// Our own, on rustls.
    Probe,
    /// curl, on OpenSSL.
    Curl,
    /// wget, on GnuTLS.
    Wget,
    /// OpenSSL's own.
    OpenSsl,
    /// GnuTLS's own.
    GnuTls,
    /// Python's urllib, on OpenSSL.
    Python,
    /// Node's https, on OpenSSL.
    Node,
    /// Go's net/http.
    Go,
}

/// A server program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Server {
    /// The lab's own, on rustls.
    Embedded,
    /// nginx, on OpenSSL.
    Nginx,
    /// HAProxy, on OpenSSL.
    HaProxy,
    /// Caddy, on Go.
    Caddy,
    /// GnuTLS's own.
    GnuTls,
    /// Python's asyncio, on OpenSSL.
    Python,
    /// Node's https, on OpenSSL.
    Node,
    /// Go's net/http.
    Go,
}

impl Client {
    /// All.
    pub const ALL: [Self; 8] =
        [Self::Probe, Self::Curl, Self::Wget, Self::OpenSsl, Self::GnuTls, Self::Python, Self::Node, Self::Go];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Curl => "curl",
            Self::Wget => "wget",
            Self::OpenSsl => "openssl",
            Self::GnuTls => "gnutls-cli",
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
        }
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Self::Probe => None,
            Self::Python => Some("python3"),
            Self::Curl | Self::Wget | Self::OpenSsl | Self::GnuTls | Self::Node | Self::Go => Some(self.word()),
        }
    }

    /// Whether it speaks within a few tens of milliseconds from its start.
    pub fn brisk(self) -> bool {
        !matches!(self, Self::Python | Self::Node)
    }

    /// Whether a crowd of it that begins at once needs hardly any CPU; of the others, some would truly wait for it.
    pub fn light(self) -> bool {
        matches!(self, Self::Probe | Self::Go)
    }

    /// What one start of it costs, in milliseconds of CPU, at most: so far apart, clients of one host do not keep each other waiting.
    pub fn start_ms(self) -> u32 {
        if self.brisk() { 60 } else { 250 }
    }

    /// Whether it can be told to offer TLS 1.2 only.
    pub fn old(self) -> bool {
        self != Self::Wget
    }

    /// Its command as scenarios have it; absent where they have a kind for it.
    pub fn command(self, tls: TlsVersion, stacks: &Stacks) -> Option<Vec<String>> {
        let version = digits(tls);
        let old = |flag: &'static str| if tls == TlsVersion::V12 { flag } else { "" };
        let fetches =
            |words: &[&str]| words.iter().copied().chain(["{host}:{port}", "{ca}", version]).map(str::to_owned).collect();
        // Standard input is the barrier's: a request comes by another.
        let asks = |line: String| vec!["sh".to_owned(), "-c".to_owned(), format!("exec {line} <<'END'\n{REQUEST}END\n")];
        Some(match self {
            Self::Probe | Self::Curl => return None,
            Self::Wget => {
                let words =
                    ["wget", "--quiet", "--output-document=/dev/null", "--tries=1", "--timeout=15", "--ca-certificate={ca}"];
                words.into_iter().chain(["https://{host}:{port}/"]).map(str::to_owned).collect()
            }
            Self::OpenSsl => asks(format!(
                "openssl s_client -brief -ign_eof -connect {{host}}:{{port}} -servername {{host}} -CAfile {{ca}} \
                 -verify_return_error {}",
                old("-tls1_2")
            )),
            Self::GnuTls => asks(format!(
                "gnutls-cli --x509cafile={{ca}} --port={{port}} {} {{host}}",
                old("--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2")
            )),
            Self::Python => fetches(&["python3", "-c", include_str!("programs/client.py")]),
            Self::Node => fetches(&["node", "-e", include_str!("programs/client.js")]),
            Self::Go => fetches(&[&stacks.built("client")]),
        })
    }
}

impl Server {
    /// All.
    pub const ALL: [Self; 8] =
        [Self::Embedded, Self::Nginx, Self::HaProxy, Self::Caddy, Self::GnuTls, Self::Python, Self::Node, Self::Go];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
            Self::Caddy => "caddy",
            Self::GnuTls => "gnutls-serv",
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
        }
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Self::Embedded => None,
            Self::Python => Some("python3"),
            Self::Nginx | Self::HaProxy | Self::Caddy | Self::GnuTls | Self::Node | Self::Go => Some(self.word()),
        }
    }

    /// Whether it comes up on a tenth of a CPU before a run loses its patience.
    pub fn brisk(self) -> bool {
        matches!(self, Self::Embedded | Self::Nginx | Self::HaProxy | Self::GnuTls)
    }

    /// Whether it serves one client after another: of several, all but the first truly wait for it.
    pub fn one_by_one(self) -> bool {
        self == Self::GnuTls
    }

    /// Its command as scenarios have it; absent where they have a kind for it.
    pub fn command(self, stacks: &Stacks) -> Option<Vec<String>> {
        let serves = |words: &[&str]| {
            let words = words.iter().copied();
            words.chain(["{address}", "{port}", "{chain}", "{key}"]).map(str::to_owned).collect()
        };
        // Their files lie beside the certificates, in the lab's own folder.
        let configured = |script: &str| vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        Some(match self {
            Self::Embedded | Self::Nginx => return None,
            Self::HaProxy => configured(
                "cat '{chain}' '{key}' > '{chain}.{address}.pem'\n\
                 cat > '{chain}.{address}.cfg' <<'END'\n\
                 global\n  nbthread 1\n\
                 defaults\n  mode http\n  timeout client 20s\n  timeout server 20s\n  timeout connect 5s\n\
                 frontend f\n  bind {address}:{port} ssl crt {chain}.{address}.pem\n\
                 \x20 http-request return status 200 content-type text/plain string ok\n\
                 END\n\
                 exec haproxy -db -f '{chain}.{address}.cfg'\n",
            ),
            Self::Caddy => configured(
                "cat > '{chain}.{address}.caddy' <<'END'\n\
                 {\n  admin off\n  auto_https off\n  storage file_system {chain}.{address}.d\n}\n\
                 https://:{port} {\n  bind {address}\n  tls {chain} {key}\n  respond \"ok\"\n}\n\
                 END\n\
                 HOME='{chain}.{address}.d' exec caddy run --adapter caddyfile --config '{chain}.{address}.caddy'\n",
            ),
            Self::GnuTls => {
                let words = ["gnutls-serv", "--http", "--quiet", "--disable-client-cert", "--port={port}"];
                words.into_iter().chain(["--x509certfile={chain}", "--x509keyfile={key}"]).map(str::to_owned).collect()
            }
            Self::Python => serves(&["python3", "-c", include_str!("programs/server.py")]),
            Self::Node => serves(&["node", "-e", include_str!("programs/server.js")]),
            Self::Go => serves(&[&stacks.built("server")]),
        })
    }
}

/// The stacks that are here.
#[derive(Clone, Debug)]
pub struct Stacks {
    /// Clients.
    pub clients: Vec<Client>,
    /// Servers.
    pub servers: Vec<Server>,
    folder: PathBuf,
}

impl Stacks {
    /// These stacks; what Go builds lies in `folder`.
    pub fn of(clients: Vec<Client>, servers: Vec<Server>, folder: PathBuf) -> Self {
        Self { clients, servers, folder }
    }

    /// Those that are installed; what must be built is built into `folder`.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn installed(folder: &Path) -> Result<Self, Error> {
        let here = |program: Option<&str>| program.is_none_or(installed);
        let clients = Client::ALL.into_iter().filter(|c| here(c.program())).collect();
        let servers = Server::ALL.into_iter().filter(|s| here(s.program())).collect();
        let stacks = Self::of(clients, servers, folder.to_owned());
        if stacks.clients.contains(&Client::Go) {
            stacks.build("client", include_str!("programs/client.go"))?;
            stacks.build("server", include_str!("programs/server.go"))?;
        }
        Ok(stacks)
    }

    fn built(&self, name: &str) -> String {
        self.folder.join(format!("go-{name}")).display().to_string()
    }

    fn build(&self, name: &str, source: &str) -> Result<(), Error> {
        let file = self.folder.join(format!("{name}.go"));
        std::fs::write(&file, source).map_err(|source| Error::Write { path: file.display().to_string(), source })?;
        let mut go = Command::new("go");
        go.args(["build", "-o", &self.built(name)]).arg(&file).env("GO111MODULE", "off").env("GOFLAGS", "");
        let output = go.output().map_err(lab::Error::system("starting go"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(lab::Error::helper(format!("building {}", file.display()), String::from_utf8_lossy(&output.stderr)).into())
    }
}
