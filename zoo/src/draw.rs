//! Draws cases: every seed has its own sizes, places, pairs and faults.

use std::time::Duration;

use fastrand::Rng;
use lab::wire::{Act, Direction, Packet, Which};

use crate::case::{Before, Case, Edit, Fault};
use crate::stacks::{Chain, Client, Server, Version};
use crate::words::Done;

/// Kinds of case with their weight and the letter their names begin with.
const KINDS: [(&str, char, u32); 19] = [
    ("healthy", 'h', 20),
    ("client stalls", 'c', 13),
    ("client waits for a third host", 'c', 4),
    ("client pauses behind the go-ahead", 'c', 2),
    ("client is stopped", 'k', 5),
    ("server stalls", 's', 14),
    ("server late before TLS", 's', 5),
    ("server is stopped", 's', 5),
    ("packet lost", 'p', 16),
    ("direction held", 'p', 9),
    ("single packet late", 'p', 4),
    ("farther address", 'p', 7),
    ("harmless disorder", 'h', 5),
    ("everything of the client lost for a while", 'p', 3),
    ("packets too big", 'p', 2),
    ("ends badly", 'e', 9),
    ("mixed", 'm', 12),
    ("client has too little CPU", 'k', 4),
    ("server has too little CPU", 's', 2),
];

/// Draws case number `index` of a seed.
pub fn case(seed: u64, index: usize, count: usize) -> Case {
    let own = seed.wrapping_mul(1_000_003).wrapping_add(index as u64);
    let mut r = Rng::with_seed(own);
    let total: u32 = KINDS.iter().map(|k| k.2).sum();
    // Kinds go round in proportion, so that a small set has all of them; everything else is drawn.
    let offset = Rng::with_seed(seed).u32(..total);
    let mut place = (offset + (index as u32).wrapping_mul(58)) % total;
    let mut kind = KINDS[0];
    for k in KINDS {
        if place < k.2 {
            kind = k;
            break;
        }
        place -= k.2;
    }
    let mut c = surroundings(&mut r, own, kind.0, count);
    let many = if kind.0 == "healthy" { 0 } else { r.usize(2..=4).min(count / 2) };
    let hit = pick(&mut r, count, many);
    match kind.0 {
        "healthy" => {}
        "harmless disorder" => each(&mut c, &hit, &mut r, harmless),
        "client stalls" => each(&mut c, &hit, &mut r, client_stall),
        "client pauses behind the go-ahead" => {
            each(&mut c, &hit, &mut r, |_, r| Fault::ClientStall { stage: "hello", ms: span(r, 60.0, 700.0).round() })
        }
        "client waits for a third host" => {
            each(&mut c, &hit, &mut r, |c, r| Fault::Fetch { answered: r.u8(..3) > 0, ms: span(r, 150.0, 900.0) + overlap(c) })
        }
        "client is stopped" => each(&mut c, &hit, &mut r, client_stop),
        "server stalls" => each(&mut c, &hit, &mut r, server_stall),
        "server late before TLS" => each(&mut c, &hit, &mut r, |c, r| {
            let stages = c.before.map_or(&[][..], Before::stages);
            Fault::ServerStall { stage: stages[r.usize(..stages.len())], ms: span(r, 60.0, 700.0).round() }
        }),
        "server is stopped" => each(&mut c, &hit, &mut r, |c, r| Fault::ServerStop { ms: span(r, 80.0, 600.0) + ms(c.out) }),
        "packet lost" => {
            let which = lost(&c, &mut r);
            each(&mut c, &hit, &mut r, |_, _| which.clone());
        }
        "direction held" => each(&mut c, &hit, &mut r, held),
        "single packet late" => each(&mut c, &hit, &mut r, |c, r| {
            let which = if r.bool() { Packet::ClientFinished(1) } else { Packet::Flight(r.usize(1..=segments(c))) };
            wire(Which::Copy(which, 1), Act::Delay(spread(r, 80.0, 400.0)), Done::Late)
        }),
        "farther address" => {
            for n in hit {
                c.farther[n] = true;
            }
        }
        "everything of the client lost for a while" => each(&mut c, &hit, &mut r, |_, r| {
            let which = if r.bool() { Packet::ClientFinished(1) } else { Packet::ClientHello(1) };
            wire(Which::Copy(which, 1), Act::Silence(spread(r, 120.0, 700.0)), Done::Loss)
        }),
        "packets too big" => {
            let way = if c.big_hello { Direction::Out } else { Direction::Back };
            each(&mut c, &hit, &mut r, |_, r| wire(Which::Above(way, r.u32(600..1_200)), Act::Drop, Done::Mtu));
        }
        "client has too little CPU" => each(&mut c, &hit, &mut r, |c, r| starve(true, ms(c.back), r)),
        "server has too little CPU" => each(&mut c, &hit, &mut r, |c, r| starve(false, ms(c.out), r)),
        "ends badly" => bad_end(&mut c, &hit, &mut r),
        _ => mixed(&mut c, &hit, &mut r),
    }
    let mut letter = kind.1;
    // A program of one thread that stalls keeps the others waiting too.
    let one_thread = matches!(c.server, Server::Nginx | Server::Haproxy | Server::Gnutls);
    if one_thread && c.faults.iter().flatten().any(|f| matches!(f, Fault::ServerStall { .. })) {
        c.concurrent = false;
    }
    // gnutls-serv waits for one client at a time: whoever stalls there keeps the others waiting.
    if c.server == Server::Gnutls {
        c.concurrent = false;
    }
    if c.concurrent && c.faults.iter().flatten().any(|f| matches!(f, Fault::ClientStop { .. } | Fault::ServerStop { .. })) {
        c.concurrent = false;
    }
    if !matches!(kind.0, "ends badly" | "packets too big" | "harmless disorder") && r.u8(..9) == 0 {
        c.edit = Some(edit(&mut r));
        letter = 'x';
    }
    c.title = format!("{}; {}", kind.0, describe(&c));
    let slug = kind.0.split(' ').collect::<Vec<_>>().join("-");
    c.name = format!("{letter}{index:03}-{}-{}-{slug}", c.client.word(), c.server.word());
    c
}

fn surroundings(r: &mut Rng, seed: u64, kind: &str, count: usize) -> Case {
    let talks = talks(r, kind);
    let before = talks.map(|t| t.2);
    let version = if r.u8(..10) < 4 { Version::Two } else { Version::Three };
    let chain = *pick_one(r, &[Chain::Ec, Chain::Rsa, Chain::Rsa, Chain::Mid, Chain::Long]);
    let chain = match kind {
        "packets too big" if chain == Chain::Ec => Chain::Rsa,
        "harmless disorder" if matches!(chain, Chain::Ec | Chain::Long) => Chain::Mid,
        _ => chain,
    };
    let mut client = *pick_one(r, &Client::WEB);
    let mut server = *pick_one(r, &Server::WEB);
    if let Some(talks) = talks {
        (client, server) = (talks.0, talks.1);
    }
    while kind == "client waits for a third host" && !client.fetches() {
        client = *pick_one(r, &Client::WEB);
    }
    let imitated = before.is_some() && server == Server::Python;
    let mut mtls = !imitated && client.certificate() && r.u8(..6) == 0;
    let mut resume = before.is_none() && !mtls && client.resumes() && kind != "packets too big" && r.u8(..5) == 0;
    while kind == "server stalls" && server.stages(version, mtls, resume, false).is_empty() {
        server = *pick_one(r, &Server::WEB);
    }
    if kind.ends_with("little CPU") {
        // One thread each, so that what the scheduler made it wait is what the handshake waited for.
        client = *pick_one(r, &[Client::Python, Client::Rustls]);
        server = *pick_one(r, &[Server::Python, Server::Nginx, Server::Haproxy]);
        (mtls, resume) = (false, false);
    }
    if kind == "ends badly" {
        (mtls, resume) = (r.u8(..3) == 0 && client.certificate(), false);
    }
    if kind == "packet lost" && chain != Chain::Ec {
        resume = false;
    }
    let hello_retry = version == Version::Three && !resume && !imitated && r.u8(..8) == 0;
    // PostgreSQL takes one curve, which is not the one that clients guess.
    let hello_retry = hello_retry || (version == Version::Three && server == Server::Postgres);
    let out = span(r, 1.0, 110.0);
    let back = if r.u8(..4) == 0 { span(r, 1.0, 110.0) } else { out };
    let jitter = if r.u8(..5) == 0 { (out.min(back) * 0.15).min(4.0) } else { 0.0 };
    let farther = kind == "farther address";
    let (ipv6, offloads) = (r.u8(..5) == 0, r.u8(..4) == 0 && !matches!(kind, "packets too big" | "harmless disorder"));
    Case {
        name: String::new(),
        title: String::new(),
        seed,
        client,
        server,
        version,
        chain,
        mtls,
        resume,
        hello_retry,
        big_hello: matches!(client, Client::Python | Client::Go) && before.is_none() && r.u8(..8) == 0,
        before,
        ipv6,
        nat: !ipv6 && !offloads && r.u8(..7) == 0,
        concurrent: client.concurrent()
            && matches!(kind, "healthy" | "client stalls" | "server stalls" | "packet lost")
            && r.u8(..5) == 0,
        out: millis(out),
        back: millis(back),
        jitter: millis(jitter),
        timestamps: r.u8(..5) > 0,
        offloads,
        bbr: r.u8(..5) == 0,
        nanoseconds: r.bool(),
        detour: farther.then(|| {
            let more = span(r, 70.0, 250.0);
            match r.u8(..3) {
                0 => (millis(more), Duration::ZERO),
                1 => (Duration::ZERO, millis(more)),
                _ => (millis(more * 0.5), millis(more * 0.5)),
            }
        }),
        farther: vec![false; count],
        faults: vec![Vec::new(); count],
        gap: millis(span(r, 15.0, 60.0)),
        timeout: Duration::from_millis(if kind == "packets too big" { 2_500 } else { 12_000 }),
        edit: None,
    }
}

/// Who says something before TLS, to whom and what; most cases begin with TLS.
fn talks(r: &mut Rng, kind: &str) -> Option<(Client, Server, Before)> {
    let real = [
        (Client::Psql, Server::Postgres, Before::Postgres),
        (Client::Curl, Server::Exim, Before::Smtp),
        (Client::Curl, Server::SquidNginx, Before::Connect),
        (Client::Curl, Server::SquidHaproxy, Before::Connect),
        (Client::Curl, Server::SquidNginx, Before::ConnectAgain),
        (Client::Curl, Server::SquidHaproxy, Before::ConnectAgain),
    ];
    let imitated = [Before::Smtp, Before::Connect, Before::ConnectAgain, Before::Postgres];
    // As many cases of PostgreSQL and of SMTP as of the proxy.
    let one_real = |r: &mut Rng| match r.usize(..3) {
        2 => *pick_one(r, &real[2..]),
        n => real[n],
    };
    match kind {
        "server late before TLS" | "client pauses behind the go-ahead" => {
            let imitates = r.u8(..4) == 0;
            let python = |r: &mut Rng| (Client::Python, Server::Python, *pick_one(r, &imitated));
            Some(if imitates { python(r) } else { one_real(r) })
        }
        // Their programs cannot fetch, or have several threads.
        "client waits for a third host" => None,
        _ if kind.ends_with("little CPU") => None,
        _ => (r.u8(..5) == 0).then(|| one_real(r)),
    }
}

fn each(c: &mut Case, hit: &[usize], r: &mut Rng, mut draw: impl FnMut(&Case, &mut Rng) -> Fault) {
    for n in hit {
        let fault = draw(c, r);
        c.faults[*n].push(fault);
    }
}

/// Segments of the server's flight that surely exist.
fn segments(c: &Case) -> usize {
    if c.resume || c.offloads { 1 } else { c.chain.segments() }
}

/// A stall that may begin while the rest of a long flight is still on its way counts from when that has come.
fn overlap(c: &Case) -> f64 {
    if c.chain == Chain::Long { ms(c.out + c.back) * 1.2 } else { 0.0 }
}

fn client_stall(c: &Case, r: &mut Rng) -> Fault {
    let stage = *pick_one(r, c.client.stages(c.mtls, c.resume));
    let stage = if c.resume && stage == "verify" { "finished" } else { stage };
    let more = if stage == "hello" { 0.0 } else { overlap(c) };
    Fault::ClientStall { stage, ms: (span(r, 60.0, 700.0) + more).round() }
}

fn server_stall(c: &Case, r: &mut Rng) -> Fault {
    let stages = c.server.stages(c.version, c.mtls, c.resume, c.hello_retry);
    Fault::ServerStall { stage: stages[r.usize(..stages.len())], ms: span(r, 60.0, 700.0).round() }
}

fn client_stop(c: &Case, r: &mut Rng) -> Fault {
    let before_hello = c.client.one_process() && r.u8(..4) == 0;
    Fault::ClientStop {
        before_hello,
        ms: (span(r, 90.0, 600.0) + ms(c.back) + if before_hello { 0.0 } else { overlap(c) }).round(),
    }
}

fn starve(client: bool, before: f64, r: &mut Rng) -> Fault {
    Fault::Starve { client, ms: (span(r, 250.0, 500.0) + before).round() }
}

fn lost(c: &Case, r: &mut Rng) -> Fault {
    let segment = Packet::Flight(r.usize(1..=segments(c)));
    let hello = if c.hello_retry || c.big_hello { Packet::ClientHello(2) } else { Packet::ClientHello(1) };
    let choices = [
        (hello, Done::Loss),
        (Packet::Syn, Done::LostSyn),
        (Packet::SynAck, Done::Loss),
        (Packet::ClientHello(1), Done::Loss),
        (segment, Done::Loss),
        (segment, Done::Loss),
        (Packet::ClientFinished(1), Done::Loss),
    ];
    let full_old = c.version == Version::Two && !c.resume;
    let (packet, done) = if full_old && r.u8(..4) == 0 { (Packet::Behind(1), Done::Loss) } else { *pick_one(r, &choices) };
    let which = if r.u8(..6) == 0 { Which::Copies(packet, 2) } else { Which::Copy(packet, 1) };
    wire(which, Act::Drop, done)
}

fn held(c: &Case, r: &mut Rng) -> Fault {
    let by = spread(r, 70.0, 500.0);
    let (packet, act) = match r.u8(..6) {
        0 | 1 => (Packet::FlightAck, Act::HoldAfter(by)),
        2 => (Packet::Flight(1), Act::Hold(by)),
        3 => (Packet::ClientHello(1), Act::Hold(by)),
        4 if c.version == Version::Two && !c.resume => (Packet::Behind(1), Act::Hold(by)),
        _ => (Packet::ClientFinished(1), Act::Hold(by)),
    };
    wire(Which::Copy(packet, 1), act, Done::Spike)
}

fn harmless(c: &Case, r: &mut Rng) -> Fault {
    let segment = Packet::Flight(r.usize(1..=segments(c)));
    match r.u8(..4) {
        0 => wire(Which::Copy(segment, 1), Act::Duplicate(spread(r, 0.2, 15.0)), Done::Nothing),
        1 => wire(Which::Copy(Packet::ClientFinished(1), 1), Act::Duplicate(spread(r, 0.2, 15.0)), Done::Nothing),
        2 => wire(Which::Copy(segment, 1), Act::Delay(spread(r, 0.5, 4.0)), Done::Reordered),
        _ => wire(Which::Copy(Packet::FlightAck, 1), Act::Drop, Done::Nothing),
    }
}

fn bad_end(c: &mut Case, hit: &[usize], r: &mut Rng) {
    for n in hit {
        let mut choices = vec![];
        let at = [Packet::ClientHello(1), Packet::Flight(1), Packet::ClientFinished(1)];
        let ttl = *pick_one(r, &[64, 57, 250, 128]);
        choices.push(wire(Which::Copy(*pick_one(r, &at), 1), Act::Reset(ttl), Done::Reset));
        if c.client.distrusts() {
            choices.push(Fault::Distrust);
        }
        if c.mtls && !c.server.lenient() {
            choices.push(Fault::NoCertificate);
        }
        if c.client.old() && c.server != Server::Gnutls {
            choices.push(Fault::OldVersion);
        }
        if c.server.closes() && !c.concurrent {
            choices.push(Fault::ServerClose);
        }
        c.faults[*n].push(pick_one(r, &choices).clone());
    }
}

fn mixed(c: &mut Case, hit: &[usize], r: &mut Rng) {
    let client = matches!(r.u8(..3), 0 | 1);
    let server = !client || r.bool();
    let server = server && !c.server.stages(c.version, c.mtls, c.resume, c.hello_retry).is_empty();
    if r.u8(..4) == 0 {
        c.detour = Some((millis(span(r, 90.0, 200.0)), Duration::ZERO));
        for n in hit {
            c.farther[*n] = true;
        }
    }
    for (i, n) in hit.iter().enumerate() {
        let first = if client || !server { sized(client_stall(c, r), r, overlap(c)) } else { sized(server_stall(c, r), r, 0.0) };
        let second = if client && server {
            sized(server_stall(c, r), r, 0.0)
        } else if r.bool() {
            held(c, r)
        } else {
            lost(c, r)
        };
        c.faults[*n].push(first);
        // One of them has the first fault only.
        if c.detour.is_none() && (i == 0 || hit.len() < 3 || i + 1 < hit.len()) {
            c.faults[*n].push(second);
        }
    }
}

/// Long enough that both of two must be named.
fn sized(fault: Fault, r: &mut Rng, more: f64) -> Fault {
    let ms = (span(r, 130.0, 350.0) + more).round();
    match fault {
        Fault::ClientStall { stage, .. } => Fault::ClientStall { stage, ms },
        Fault::ServerStall { stage, .. } => Fault::ServerStall { stage, ms },
        other => other,
    }
}

fn edit(r: &mut Rng) -> Edit {
    let client = r.bool();
    match r.u8(..9) {
        0 => Edit::Offset { client, ms: (r.f64() - 0.5) * 8_000.0 },
        1 => Edit::Skew { client, ppm: if r.bool() { 200.0 } else { -200.0 } },
        2 => Edit::Step { client, ms: if r.bool() { 1.0 } else { -1.0 } * span(r, 60.0, 400.0), at: 0.25 + r.f64() * 0.5 },
        3 => Edit::Round { client, ms: 10.0 },
        4..=6 => Edit::Drop { client, fraction: span(r, 0.01, 0.08) },
        _ => Edit::Merged,
    }
}

fn describe(c: &Case) -> String {
    let mut words = vec![format!("TLS {}, {} chain", c.version.word(), c.chain.word())];
    let flags = [
        (c.mtls, "client certificates"),
        (c.resume, "resumed"),
        (c.hello_retry, "HelloRetryRequest"),
        (c.big_hello, "ClientHello of two segments"),
        (c.concurrent, "concurrent"),
        (c.bbr, "bbr"),
        (c.nat, "NAT"),
    ];
    words.extend(flags.iter().filter(|f| f.0).map(|f| f.1.to_owned()));
    words.extend(c.before.map(|b| format!("{} before TLS", b.word())));
    words.join(", ")
}

fn wire(which: Which, act: Act, done: Done) -> Fault {
    Fault::Wire { which, act, done }
}

fn pick(r: &mut Rng, count: usize, many: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (1..count).collect();
    r.shuffle(&mut all);
    all.truncate(many);
    all.sort_unstable();
    all
}

fn pick_one<'a, T>(r: &mut Rng, of: &'a [T]) -> &'a T {
    &of[r.usize(..of.len())]
}

/// Between the two, small ones as likely as large ones.
fn span(r: &mut Rng, least: f64, most: f64) -> f64 {
    least * (most / least).powf(r.f64())
}

fn spread(r: &mut Rng, least: f64, most: f64) -> Duration {
    millis(span(r, least, most))
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_every_kind_and_most_handshakes_are_left_alone() {
        let total: u32 = KINDS.iter().map(|k| k.2).sum();
        let cases: Vec<Case> = (0..total as usize).map(|i| case(9, i, 10)).collect();
        for (kind, _, weight) in KINDS {
            let drawn = cases.iter().filter(|c| c.title.starts_with(&format!("{kind};"))).count();
            assert_eq!(drawn, weight as usize, "{kind}");
        }
        for c in &cases {
            let hit = (0..10).filter(|n| !c.faults[*n].is_empty() || c.farther[*n]).count();
            assert!(hit <= 4, "{}: {hit}", c.name);
        }
        let hit: usize = cases.iter().map(|c| c.faults.iter().filter(|f| !f.is_empty()).count()).sum();
        assert!(hit * 2 < cases.len() * 10);
    }

    #[test]
    fn real_servers_that_speak_before_tls_are_drawn_only_where_they_can() {
        let cases: Vec<Case> = (0..2_000).map(|i| case(3, i, 10)).collect();
        for server in Server::all().filter(|s| !Server::WEB.contains(s)) {
            let of: Vec<&Case> = cases.iter().filter(|c| c.server == server).collect();
            assert!(of.len() >= 40, "{server:?}: {}", of.len());
            for (kind, _, _) in KINDS {
                let may = kind != "client waits for a third host" && !kind.ends_with("little CPU");
                let drawn = of.iter().any(|c| c.title.starts_with(&format!("{kind};")));
                assert!(!drawn || may, "{server:?}, {kind}");
            }
            for c in of {
                assert!(c.before.is_some() && !c.resume && !c.concurrent, "{}", c.name);
                assert_eq!(c.client == Client::Psql, server == Server::Postgres, "{}", c.name);
            }
        }
        let late = cases.iter().filter(|c| c.title.starts_with("server late before TLS"));
        for c in late {
            let stages = c.before.map_or(&[][..], Before::stages);
            assert!(c.faults.iter().flatten().all(|f| matches!(f, Fault::ServerStall { stage, .. } if stages.contains(stage))));
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        assert_eq!(format!("{:?}", case(4, 17, 10)), format!("{:?}", case(4, 17, 10)));
        assert_ne!(format!("{:?}", case(4, 17, 10)), format!("{:?}", case(5, 17, 10)));
    }
}
