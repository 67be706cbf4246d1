//! The stacks, and where each can stall by itself.

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
    pub const ALL: [Client; 8] =
        [Client::Curl, Client::Python, Client::Go, Client::Java, Client::Node, Client::Gnutls, Client::Rustls, Client::Prober];

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
        })
    }

    /// Where it can stall: before ClientHello, in verification, before Finished, in its own key (client certificate).
    pub fn stages(self, mtls: bool, resumed: bool) -> &'static [&'static str] {
        match self {
            Client::Curl => &["hello", "read", "verify"],
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
        !matches!(self, Client::Curl | Client::Gnutls)
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
    pub const ALL: [Server; 7] =
        [Server::Nginx, Server::Haproxy, Server::Caddy, Server::Go, Server::Node, Server::Python, Server::Gnutls];

    pub fn word(self) -> &'static str {
        match self {
            Server::Nginx => "nginx",
            Server::Haproxy => "haproxy",
            Server::Caddy => "caddy",
            Server::Go => "go",
            Server::Node => "node",
            Server::Python => "python",
            Server::Gnutls => "gnutls",
        }
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
        })
    }

    /// Where it can stall so that the client's handshake waits for it.
    pub fn stages(self, version: Version, mtls: bool, resumed: bool, retry: bool) -> Vec<&'static str> {
        let mut stages = match self {
            Server::Caddy => vec![],
            Server::Nginx | Server::Haproxy | Server::Gnutls => vec!["read"],
            Server::Go => vec!["accept", "hello"],
            Server::Node if resumed => vec!["accept"], // no name callback
            Server::Node => vec!["accept", "hello"],
            Server::Python => vec!["hello"],
        };
        let last_word_waits = version == Version::Two && !resumed;
        match self {
            Server::Nginx | Server::Haproxy | Server::Go | Server::Python if last_word_waits => stages.push("second"),
            _ => {}
        }
        if mtls && !resumed && matches!(self, Server::Go | Server::Nginx | Server::Haproxy) {
            stages.push("verify");
        }
        if (mtls || retry) && version == Version::Three && self == Server::Python {
            stages.push("second");
        }
        stages
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
