//! A file that a customer sent → its requests: `cargo run -p whostalled-imports --example customer_file [FILE]`

use std::ops::ControlFlow;

use whostalled_imports::{Contents, HEAD, Request, read, sniff};

const NONE: &[u8] =
    b"Nov 26 12:00:00 lb haproxy[9]: 198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s2 640/0/3/0/0/7/650 200 99 - - \
---- 2/2/0/0/0 0/0 \"GET /a HTTP/1.1\"\n";

fn print(request: &Request) {
    println!("{}: {} → {} {}", request.place, request.client, request.server, request.url.as_deref().unwrap_or("-"));
    if let Some(key) = request.key() {
        println!("  an edge's recorder finds it by {}", key.client);
    }
    for unknown in request.unknown {
        println!("  it cannot know {}", unknown.words());
    }
}

fn main() -> std::io::Result<()> {
    let bytes = std::env::args_os().nth(1).map_or(Ok(NONE.to_vec()), std::fs::read)?;
    let Some(source) = sniff(&bytes[..bytes.len().min(HEAD)]) else {
        println!("nothing that is read here");
        return Ok(());
    };
    let Contents { requests, skipped, cut } = read(source, &bytes[..], &mut |request| {
        print(&request);
        ControlFlow::Continue(())
    });
    println!("{source}: {requests} requests; {skipped:?}; {}", cut.unwrap_or_default());
    Ok(())
}
