//! What `explain` says of frames.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;

use analysis::claims::Broken;
use explain::judging::{Finding, Opinion};
use explain::{Options, Sink, claims, explain};
use whostalled_score::captured::{Frames, write};

/// Opinions, and what the packets contradict so that no input may excuse it.
#[derive(Default)]
pub struct Heard {
    pub opinions: Vec<(SocketAddr, Opinion)>,
    pub broken: Vec<String>,
}

impl Sink for Heard {
    fn finding(&mut self, finding: Finding, _: &[PathBuf]) -> ControlFlow<()> {
        self.broken.extend(claims::broken(&finding).iter().filter(|b| b.is_arithmetic()).map(Broken::to_string));
        let client = finding.placed.handshake.endpoints.client;
        self.opinions.extend(finding.judged.ok().map(|opinion| (client, opinion)));
        ControlFlow::Continue(())
    }
    fn progress(&mut self, _: u64) {}
}

/// What is said of captures of the client's end, the edge's, or both.
pub fn hear(client: Option<&Frames>, edge: Option<&Frames>) -> Heard {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str, frames: Option<&Frames>| frames.map(|f| write(folder.path(), name, f)).into_iter().collect();
    let options = Options { client_side: file("client.pcap", client), edge_side: file("edge.pcap", edge), ..Options::default() };
    let mut heard = Heard::default();
    explain(&options, &mut heard);
    heard
}
