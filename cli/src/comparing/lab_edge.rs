//! Edges of the lab as words: `lab:nginx`, `lab:haproxy:edge.cfg`, `lab:embedded`.
//!
//! In: words. Out: the commands for which they stand, and whom to trust. Such a command is this program, which fills a configuration in as
//! a scenario's `[target.files]` are and becomes the server: to whatever compares it is a command like others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use compare::costs::quoted;
use lab::certs::{Authority, Certificates};
use lab::edge::{Does, EdgeConfig};
use lab::scratch::Scratch;
use repro::targets::Places;
use serde::{Deserialize, Serialize};
use vantage::command_line::installed;

use super::Error;

/// The hidden subcommand by which the binary becomes one.
pub(crate) const SUBCOMMAND: &str = "compare-edge";
/// What such words begin with.
const PREFIX: &str = "lab:";
/// The name where nobody says another.
const NAME: &str = "localhost";
/// Of an accept queue that nothing fills.
const BACKLOG: u32 = 1_024;

/// nginx as it is where nobody says otherwise: one process, nothing logged.
const NGINX: &str = "master_process off;
error_log {files}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path {files}/t1; proxy_temp_path {files}/t2; fastcgi_temp_path {files}/t3; uwsgi_temp_path {files}/t4; scgi_temp_path {files}/t5;
  server {
    listen {address}:{port} ssl;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / { return 200 \"ok\\n\"; }
  }
}
";
/// HAProxy, likewise.
const HAPROXY: &str = "defaults
  mode http
  timeout client 20s
frontend tls
  bind {address}:{port} ssl crt {pem}
  http-request return status 200 content-type text/plain string ok
";

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Kind {
    Embedded,
    Nginx,
    Haproxy,
}

/// What the child is told: which server, its program and configuration, and the folder of this comparison.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LabEdge {
    kind: Kind,
    program: PathBuf,
    file: Option<PathBuf>,
    scratch: PathBuf,
}

/// The edges of the lab among the words; with this, their certificates go.
pub(super) struct LabEdges {
    /// Words, and the commands for which they stand.
    pub stands_for: BTreeMap<String, String>,
    /// Whom to trust, if there are any.
    pub roots: Option<PathBuf>,
    _scratch: Option<Scratch>,
}

impl LabEdges {
    /// Of these words; their certificates are for `name`. Whoever trusts the roots in `ca`, or the host's, goes on doing so.
    ///
    /// # Errors
    /// If a word names no server, its program or its file is not there, or certificates cannot be written.
    pub fn among(words: [&str; 2], name: Option<&str>, ca: Option<&Path>) -> Result<Self, Error> {
        let named: Vec<&str> = words.into_iter().filter(|word| word.starts_with(PREFIX)).collect();
        if named.is_empty() {
            return Ok(Self { stands_for: BTreeMap::new(), roots: None, _scratch: None });
        }
        let scratch = Scratch::make()?;
        // The shell that starts it is another program: to that one, `/proc/self/exe` is itself.
        let own = std::env::current_exe()?;
        let command = |word: &&str| -> Result<(String, String), Error> {
            let told = serde_json::to_string(&LabEdge::of(word, scratch.path())?)?;
            let words = [&own.display().to_string(), SUBCOMMAND, &told].map(quoted).into_iter().collect::<Result<Vec<_>, _>>()?;
            Ok(((*word).to_owned(), format!("exec {} 127.0.0.1:{{port}}", words.join(" "))))
        };
        let stands_for = named.iter().map(command).collect::<Result<_, _>>()?;
        let authority = Authority::make(scratch.path())?;
        let names: Vec<String> = [name, Some(NAME)].into_iter().flatten().map(str::to_owned).collect();
        authority.chain(scratch.path(), None, &names, None)?;
        let roots = match ca {
            None => authority.bundle,
            Some(ca) => {
                let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
                let both = scratch.path().join("roots.pem");
                std::fs::write(&both, read(ca)? + "\n" + &read(&authority.root)?)?;
                both
            }
        };
        Ok(Self { stands_for, roots: Some(roots), _scratch: Some(scratch) })
    }
}

impl LabEdge {
    /// What a word means: `lab:PROGRAM` or `lab:PROGRAM:FILE`.
    fn of(word: &str, scratch: &Path) -> Result<Self, Error> {
        let rest = word.strip_prefix(PREFIX).unwrap_or(word);
        let (program, file) = rest.split_once(':').map_or((rest, None), |(program, file)| (program, Some(file)));
        let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (kind, package) = match name {
            "embedded" if file.is_some() => return Err(format!("{word}: the lab's own edge has no configuration").into()),
            "embedded" => (Kind::Embedded, None),
            _ if name.starts_with("nginx") => (Kind::Nginx, Some("nginx-light")),
            _ if name.starts_with("haproxy") => (Kind::Haproxy, Some("haproxy")),
            _ => {
                return Err(format!(
                    "{word}: an edge of the lab is lab:nginx, lab:haproxy (either also as a path to the program, and with :FILE for its \
                     configuration) or lab:embedded"
                )
                .into());
            }
        };
        // In the lab it may be started from another folder.
        let whole = |path: &str| std::path::absolute(path).map_err(|e| format!("{word}: {e}"));
        let program = if program.contains('/') { whole(program)? } else { program.into() };
        if let Some(package) = package {
            installed(&program.display().to_string(), &format!("apt-get install {package}"))?;
        }
        let file = file.map(whole).transpose()?;
        if let Some(file) = &file {
            std::fs::metadata(file).map_err(|e| format!("{word}: {}: {e}", file.display()))?;
        }
        Ok(Self { kind, program, file, scratch: scratch.to_owned() })
    }

    /// Becomes the server.
    ///
    /// # Errors
    /// If its configuration cannot be read or written, or its program does not start.
    pub fn serve(&self, listen: SocketAddr) -> Result<(), Error> {
        let files = self.scratch.join(format!("{}-{}", listen.port(), std::process::id()));
        std::fs::create_dir_all(&files)?;
        let certificates = Certificates { chain: self.scratch.join("chain.pem"), key: self.scratch.join("key.pem") };
        let places = Places { listen, certificates: &certificates, pem: files.join("chain-and-key.pem"), files };
        places.write_pem()?;
        match self.kind {
            Kind::Embedded => Ok(lab::edge::serve(embedded(&places))?),
            Kind::Nginx => Err(self.becoming_nginx(&places)?.exec().into()),
            Kind::Haproxy => {
                let file = self.configuration(HAPROXY, "haproxy.cfg", &places)?.1;
                Err(Command::new(&self.program).args(["-db", "-f"]).arg(file).exec().into())
            }
        }
    }

    fn becoming_nginx(&self, places: &Places<'_>) -> Result<Command, Error> {
        let (text, file) = self.configuration(NGINX, "nginx.conf", places)?;
        let mut command = Command::new(&self.program);
        command.arg("-e").arg(places.files.join("error.log")).arg("-c").arg(file);
        // What two of them, or one without root, could not share: unless the file says it itself.
        let pid = format!("pid {}/nginx.pid;", places.files.display());
        let all = [("daemon", "daemon off;"), ("pid", &pid), ("user", "user root root;")];
        let own: Vec<&str> = all.iter().filter(|(directive, _)| !has(&text, directive)).map(|(_, said)| *said).collect();
        if !own.is_empty() {
            command.arg("-g").arg(own.join(" "));
        }
        Ok(command)
    }

    /// Writes its configuration, filled in; the text, and its file.
    fn configuration(&self, usual: &str, name: &str, places: &Places<'_>) -> Result<(String, PathBuf), Error> {
        let text = match &self.file {
            None => usual.to_owned(),
            Some(file) => std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?,
        };
        let (text, path) = (places.filled(&text), places.files.join(name));
        std::fs::write(&path, &text)?;
        Ok((text, path))
    }
}

fn embedded(places: &Places<'_>) -> EdgeConfig {
    EdgeConfig {
        listen: vec![places.listen],
        chain: places.certificates.chain.clone(),
        key: places.certificates.key.clone(),
        log: places.files.join("log.ndjson"),
        truth: places.files.join("truth.ndjson"),
        slow_ms: 0.0,
        does: Does::default(),
        does_at: None,
        backlog: BACKLOG,
        before_tls: None,
        hello_retry: false,
        client_roots: None,
        in_pieces: false,
        warmed_from: None,
    }
}

/// Whether an nginx's configuration has this directive, outside of comments.
fn has(text: &str, directive: &str) -> bool {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(|line| line.split([';', '{', '}'])).any(|said| said.split_whitespace().next() == Some(directive))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str) -> Result<LabEdge, String> {
        LabEdge::of(word, Path::new("/scratch")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_word_names_a_server_and_perhaps_its_file() {
        assert_eq!(of("lab:embedded").map(|edge| (edge.kind, edge.file)), Ok((Kind::Embedded, None)));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (program, file) = (folder.path().join("nginx-1.99"), folder.path().join("a:b.conf"));
        for path in [&program, &file] {
            std::fs::write(path, "#!/bin/sh\n").expect("it can be written");
        }
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
        let edge = of(&format!("lab:{}:{}", program.display(), file.display())).expect("both are there");
        assert_eq!((edge.kind, edge.program, edge.file), (Kind::Nginx, program, Some(file)));
        for (word, said) in [
            ("lab:apache", "lab:haproxy"),
            ("lab:", "lab:haproxy"),
            ("lab:embedded:x", "no configuration"),
            ("lab:/nowhere/nginx", "/nowhere/nginx"),
        ] {
            let error = of(word).expect_err(word);
            assert!(error.contains(said), "{word}: {error}");
        }
        let none = of(&format!("lab:{}:/nowhere.conf", folder.path().join("nginx-1.99").display())).expect_err("no such file");
        assert!(none.contains("/nowhere.conf"), "{none}");
    }

    #[test]
    fn what_a_file_says_of_its_process_is_not_said_twice() {
        let text = "# user nobody;\nworker_processes 2; daemon off;\nevents { } http { server { return 200 \"pid\"; } }\n";
        assert_eq!(["daemon", "pid", "user"].map(|directive| has(text, directive)), [true, false, false]);
    }

    #[test]
    fn words_stand_for_commands_and_others_for_themselves() {
        let none = LabEdges::among(["https://a.test/", "proxy {port}"], None, None).expect("nothing is made");
        assert!(none.stands_for.is_empty() && none.roots.is_none());
        let edges = LabEdges::among(["lab:embedded", "proxy {port}"], Some("edge.test"), None).expect("it is made");
        let command = &edges.stands_for["lab:embedded"];
        let words = shlex::split(command).expect("words of the shell");
        assert_eq!((words[0].as_str(), words[2].as_str(), words[4].as_str()), ("exec", SUBCOMMAND, "127.0.0.1:{port}"));
        let told: LabEdge = serde_json::from_str(&words[3]).expect("it is told in JSON");
        assert!(told.scratch.join("chain.pem").exists());
    }
}
