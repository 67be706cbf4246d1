//! The stacks, and where each can stall by itself.

use crate::servers::{postgres, squid};

/// A client program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    Curl,
    Python,
    Go,
    Java,
    Node,
    Gnutls,
    Rustls,
    /// Our own prober.
    Prober,
    /// PostgreSQL's libpq, in its shell.
    Psql,
}

/// A server program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    Nginx,
    Haproxy,
    Caddy,
    Go,
    Node,
    Python,
    Gnutls,
    Postgres,
    /// Behind STARTTLS.
    Exim,
    /// Behind a proxy that is asked to CONNECT: Squid on the same host.
    SquidNginx,
    SquidHaproxy,
}

/// A certificate chain, by what it weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chain {
    Ec,
    Rsa,
    Mid,
    Long,
}

/// TLS 1.2 or 1.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    Two,
    Three,
}

/// The first of these programs that is not installed.
fn missing(programs: &'static [&'static str]) -> Option<&'static str> {
    programs.iter().copied().find(|program| !lab::host::installed(program))
}

impl Client {
    /// Those that speak HTTPS.
    pub const WEB: [Client; 8] =
        [Client::Curl, Client::Python, Client::Go, Client::Java, Client::Node, Client::Gnutls, Client::Rustls, Client::Prober];

    pub fn all() -> impl Iterator<Item = Self> {
        Self::WEB.into_iter().chain([Client::Psql])
    }

    pub fn word(self) -> &'static str {
        match self {
            Client::Curl => "curl",
            Client::Python => "python",
            Client::Go => "go",
            Client::Java => "java",
            Client::Node => "node",
            Client::Gnutls => "gnutls",
            Client::Rustls => "rustls",
            Client::Prober => "prober",
            Client::Psql => "psql",
        }
    }

    /// What of it is not installed here.
    pub fn missing(self) -> Option<&'static str> {
        missing(match self {
            Client::Curl => &["curl"],
            Client::Python => &["python3"],
            Client::Go => &["go"],
            Client::Java => &["java", "javac"],
            Client::Node => &["node"],
            Client::Gnutls => &["gnutls-cli"],
            Client::Rustls | Client::Prober => &[],
            Client::Psql => return postgres::missing(&["psql"]),
        })
    }

    /// Where it can stall: before ClientHello, in verification, before Finished, in its own key (client certificate).
    pub fn stages(self, mtls: bool, resumed: bool) -> &'static [&'static str] {
        match self {
            Client::Curl | Client::Psql => &["hello", "read", "verify"],
            Client::Gnutls => &["hello", "verify"], // one blocking call reads and answers the flight
            Client::Python | Client::Node | Client::Rustls | Client::Prober => &["hello", "finished"],
            Client::Go if mtls => &["hello", "verify", "finished", "key"],
            Client::Go => &["hello", "verify", "finished"],
            Client::Java if resumed => &["hello"],
            Client::Java => &["hello", "verify"],
        }
    }

    /// One process for all handshakes.
    pub fn one_process(self) -> bool {
        !matches!(self, Client::Curl | Client::Gnutls | Client::Psql)
    }

    pub fn resumes(self) -> bool {
        matches!(self, Client::Python | Client::Go | Client::Java | Client::Node | Client::Rustls | Client::Prober)
    }

    pub fn certificate(self) -> bool {
        self != Client::Java
    }

    pub fn concurrent(self) -> bool {
        matches!(self, Client::Python | Client::Go | Client::Node)
    }

    /// Can be made to distrust the server in single handshakes.
    pub fn distrusts(self) -> bool {
        self != Client::Java
    }

    /// Can offer an old version only.
    pub fn old(self) -> bool {
        matches!(self, Client::Python | Client::Go | Client::Node)
    }

    /// Can fetch from a third host while it verifies.
    pub fn fetches(self) -> bool {
        matches!(self, Client::Python | Client::Go)
    }
}

impl Server {
    /// Those that speak HTTPS.
    pub const WEB: [Server; 7] =
        [Server::Nginx, Server::Haproxy, Server::Caddy, Server::Go, Server::Node, Server::Python, Server::Gnutls];

    pub fn all() -> impl Iterator<Item = Self> {
        Self::WEB.into_iter().chain([Server::Postgres, Server::Exim, Server::SquidNginx, Server::SquidHaproxy])
    }

    pub fn word(self) -> &'static str {
        match self {
            Server::Nginx => "nginx",
            Server::Haproxy => "haproxy",
            Server::Caddy => "caddy",
            Server::Go => "go",
            Server::Node => "node",
            Server::Python => "python",
            Server::Gnutls => "gnutls",
            Server::Postgres => "postgres",
            Server::Exim => "exim",
            Server::SquidNginx => "squid-nginx",
            Server::SquidHaproxy => "squid-haproxy",
        }
    }

    /// The server that a proxy leads to.
    pub fn behind_proxy(self) -> Option<Server> {
        match self {
            Server::SquidNginx => Some(Server::Nginx),
            Server::SquidHaproxy => Some(Server::Haproxy),
            _ => None,
        }
    }

    /// Stalls where its plan says; the others where `stall.so` makes them.
    pub fn stalls_itself(self) -> bool {
        matches!(self, Server::Caddy | Server::Go | Server::Node | Server::Python)
    }

    /// What of it is not installed here.
    pub fn missing(self) -> Option<&'static str> {
        missing(match self {
            Server::Nginx => &["nginx"],
            Server::Haproxy => &["haproxy"],
            Server::Caddy => &["caddy"],
            Server::Go => &["go"],
            Server::Node => &["node"],
            Server::Python => &["python3"],
            Server::Gnutls => &["gnutls-serv"],
            Server::Postgres => return postgres::missing(&["postgres", "initdb"]),
            Server::Exim => &["exim4"],
            Server::SquidNginx => &["squid", squid::PASSWORDS, "nginx"],
            Server::SquidHaproxy => &["squid", squid::PASSWORDS, "haproxy"],
        })
    }

    /// Where it can stall so that the client's handshake waits for it.
    pub fn stages(self, version: Version, mtls: bool, resumed: bool, retry: bool) -> Vec<&'static str> {
        let mut stages = match self {
            Server::Caddy => vec![],
            Server::Nginx | Server::Haproxy | Server::SquidNginx | Server::SquidHaproxy => vec!["read"],
            Server::Gnutls | Server::Postgres | Server::Exim => vec!["read"],
            Server::Go => vec!["accept", "hello"],
            Server::Node if resumed => vec!["accept"], // no name callback
            Server::Node => vec!["accept", "hello"],
            Server::Python => vec!["hello"],
        };
        // OpenSSL, which `stall.so` knows.
        let open = matches!(self, Server::Nginx | Server::Haproxy | Server::SquidNginx | Server::SquidHaproxy | Server::Postgres);
        let last_word_waits = version == Version::Two && !resumed;
        if last_word_waits && (open || matches!(self, Server::Go | Server::Python)) {
            stages.push("second");
        }
        if mtls && !resumed && (open || self == Server::Go) {
            stages.push("verify");
        }
        if (mtls || retry) && version == Version::Three && self == Server::Python {
            stages.push("second");
        }
        stages
    }

    /// Completes without a client certificate that it asked for, and refuses afterwards.
    pub fn lenient(self) -> bool {
        matches!(self, Server::Nginx | Server::SquidNginx | Server::Postgres)
    }

    /// Can close single connections after the ClientHello.
    pub fn closes(self) -> bool {
        matches!(self, Server::Go | Server::Python)
    }
}

impl Chain {
    pub fn word(self) -> &'static str {
        match self {
            Chain::Ec => "ec",
            Chain::Rsa => "rsa",
            Chain::Mid => "mid",
            Chain::Long => "long",
        }
    }

    /// Segments of a flight that surely exist.
    pub fn segments(self) -> usize {
        match self {
            Chain::Ec => 1,
            Chain::Rsa => 2,
            Chain::Mid => 4,
            Chain::Long => 14,
        }
    }
}

impl Version {
    pub fn word(self) -> &'static str {
        match self {
            Version::Two => "1.2",
            Version::Three => "1.3",
        }
    }
}
