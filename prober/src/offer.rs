//! What an edge would have agreed to, had our library been able to speak it.
//!
//! In: an edge that refused our ClientHello. Out: words for what it wants and we have not, if that is what it was. One connection offers
//! once more what our library offers: an edge that takes it refused us for another reason. The next offers everything in use since
//! SSL 3.0; nothing of it is spoken, so no key is needed: the edge's first messages are in the clear and say what it chose (RFC 8446,
//! section 4.1; RFC 5246, section 7.4; RFC 8422, section 5.4).

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Bytes of the edge's that are read at most: a chain of certificates is shorter.
const MOST: usize = 64 << 10;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const HELLO_DONE: u8 = 14;
const NAMED_CURVE: u8 = 3;

/// Cipher suites in use since SSL 3.0, ours among them (IANA, "TLS Cipher Suites").
const SUITES: [(u16, &str); 58] = [
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    (0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    (0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA"),
    (0x00a2, "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256"),
    (0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA"),
    (0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc09c, "TLS_RSA_WITH_AES_128_CCM"),
    (0xc09d, "TLS_RSA_WITH_AES_256_CCM"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x0096, "TLS_RSA_WITH_SEED_CBC_SHA"),
    (0x0007, "TLS_RSA_WITH_IDEA_CBC_SHA"),
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    (0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
    (0x0009, "TLS_RSA_WITH_DES_CBC_SHA"),
    (0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5"),
    (0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA"),
    (0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
];

/// Groups (IANA, "TLS Supported Groups").
const GROUPS: [(u16, &str); 14] = [
    (29, "X25519"),
    (23, "P-256"),
    (24, "P-384"),
    (25, "P-521"),
    (30, "X448"),
    (26, "brainpoolP256r1"),
    (27, "brainpoolP384r1"),
    (28, "brainpoolP512r1"),
    (22, "secp256k1"),
    (21, "P-224"),
    (19, "P-192"),
    (256, "ffdhe2048"),
    (257, "ffdhe3072"),
    (258, "ffdhe4096"),
];

/// Signatures, SHA-1 and DSA among them (IANA, "TLS SignatureScheme").
const SIGNATURES: [u16; 17] = [
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601, 0x0201,
    0x0203, 0x0202,
];

/// What our library speaks.
#[derive(Clone)]
pub(crate) struct Spoken {
    pub suites: Vec<u16>,
    pub groups: Vec<u16>,
    pub signatures: Vec<u16>,
    /// TLS 1.3, beside what came before it.
    pub newest: bool,
}

impl Spoken {
    /// Everything in use; `newest`: TLS 1.3 too.
    fn everything(newest: bool) -> Self {
        let suites = SUITES.iter().map(|(number, _)| *number).filter(|number| newest || number >> 8 != 0x13);
        let groups = GROUPS.iter().map(|(number, _)| *number);
        Self { suites: suites.collect(), groups: groups.collect(), signatures: SIGNATURES.to_vec(), newest }
    }
}

/// What an edge chose, as far as it said.
#[derive(Default, PartialEq, Debug)]
struct Choice {
    version: u16,
    suite: u16,
    group: Option<u16>,
    /// The kind of the certificate's key, where our library does not know it.
    key: Option<String>,
}

/// Asks an edge what it would have agreed to.
///
/// # Errors
/// If it cannot be asked.
pub(crate) async fn look(
    address: SocketAddr,
    source: Option<IpAddr>,
    name: Option<&str>,
    spoken: &Spoken,
) -> io::Result<Option<String>> {
    if offered(address, source, name, spoken).await?.is_some() {
        return Ok(None);
    }
    let Some(choice) = offered(address, source, name, &Spoken::everything(true)).await? else { return Ok(None) };
    if let Some(words) = choice.words(spoken) {
        return Ok(Some(words));
    }
    // What it shows in the clear we speak, and more kinds of signatures were all that made the difference. Before TLS 1.3 it shows why.
    let older = offered(address, source, name, &Spoken::everything(false)).await?;
    let key = older.and_then(|choice| choice.key);
    let key = key.unwrap_or_else(|| "a key or a signature of another kind (P-521, Ed448, SHA-1 or the like)".to_owned());
    Ok(Some(format!("its certificate has {key}, which this client cannot verify")))
}

async fn offered(address: SocketAddr, source: Option<IpAddr>, name: Option<&str>, what: &Spoken) -> io::Result<Option<Choice>> {
    let mut stream: TcpStream = crate::connect::begin(address, source).await?;
    stream.write_all(&hello(name, what)).await?;
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while heard.len() < MOST {
        let n = stream.read(&mut buffer).await?;
        heard.extend_from_slice(&buffer[..n]);
        if n == 0 || is_enough(&heard) {
            break;
        }
    }
    Ok(read(&heard))
}

fn vector(length_of_length: usize, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or_default().to_be_bytes();
    [&length[4 - length_of_length..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, content)].concat()
}

fn list(all: impl Iterator<Item = u16>) -> Vec<u8> {
    vector(2, &all.flat_map(u16::to_be_bytes).collect::<Vec<u8>>())
}

/// A ClientHello.
fn hello(name: Option<&str>, what: &Spoken) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let entry = [&[0][..], &vector(2, name.as_bytes())].concat();
        extensions.extend(extension(0, &vector(2, &entry)));
    }
    extensions.extend(extension(10, &list(what.groups.iter().copied())));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &list(what.signatures.iter().copied())));
    extensions.extend(extension(23, &[]));
    if what.newest {
        let versions: Vec<u8> = [0x0304_u16, 0x0303, 0x0302, 0x0301].into_iter().flat_map(u16::to_be_bytes).collect();
        extensions.extend(extension(43, &vector(1, &versions)));
        // No share: the edge says which group it wants in a HelloRetryRequest.
        extensions.extend(extension(51, &[0, 0]));
    }
    // Chance is for keys; here there is none.
    let random = [0x77; 32];
    let suites = list(what.suites.iter().copied());
    let body = [&[3, 3][..], &random, &vector(1, &random), &suites, &[1, 0], &vector(2, &extensions)];
    let message = [&[1][..], &vector(3, &body.concat())].concat();
    [&[HANDSHAKE, 3, 1][..], &vector(2, &message)].concat()
}

/// The handshake messages of a stream of records, up to what is encrypted, and whether an alert came.
fn messages(stream: &[u8]) -> (Vec<u8>, bool) {
    let (mut rest, mut all, mut alert) = (stream, Vec::new(), false);
    while let [kind, _, _, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let fragment = &more[..length.min(more.len())];
        match *kind {
            HANDSHAKE => all.extend_from_slice(fragment),
            kind => {
                alert |= kind == ALERT;
                break;
            }
        }
        rest = &more[fragment.len()..];
    }
    (all, alert)
}

/// Each message that is whole: its type and its body.
fn whole(mut all: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [kind, a, b, c, more @ ..] = all {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(body) = more.get(..length) else { break };
        found.push((*kind, body));
        all = &more[length..];
    }
    found
}

fn is_enough(stream: &[u8]) -> bool {
    let (all, alert) = messages(stream);
    let found = whole(&all);
    alert
        || found
            .iter()
            .any(|(kind, body)| *kind == HELLO_DONE || *kind == SERVER_HELLO && version(body).is_some_and(|v| v >= 0x0304))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    fn vector(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let n = self.number(bytes)?;
        self.take(n)
    }

    fn u16(&mut self) -> Option<u16> {
        u16::try_from(self.number(2)?).ok()
    }
}

/// Of a ServerHello: version, suite, and the group that a HelloRetryRequest asks for.
fn server_hello(body: &[u8]) -> Option<(u16, u16, Option<u16>)> {
    let mut r = Reader(body);
    let mut version = r.u16()?;
    r.take(32)?;
    r.vector(1)?;
    let suite = r.u16()?;
    r.take(1)?;
    let mut group = None;
    let mut extensions = Reader(r.vector(2).unwrap_or_default());
    while let (Some(kind), Some(value)) = (extensions.u16(), extensions.vector(2)) {
        match kind {
            43 => version = Reader(value).u16().unwrap_or(version),
            51 => group = Reader(value).u16(),
            _ => {}
        }
    }
    Some((version, suite, group))
}

fn version(body: &[u8]) -> Option<u16> {
    server_hello(body).map(|(version, ..)| version)
}

/// What the edge chose; absent if it chose nothing.
fn read(stream: &[u8]) -> Option<Choice> {
    let (all, _) = messages(stream);
    let mut choice = Choice::default();
    for (kind, body) in whole(&all) {
        match kind {
            SERVER_HELLO => {
                let (version, suite, group) = server_hello(body)?;
                choice = Choice { version, suite, group, key: None };
            }
            CERTIFICATE => choice.key = foreign_key(body),
            SERVER_KEY_EXCHANGE if body.first() == Some(&NAMED_CURVE) => choice.group = Reader(&body[1..]).u16(),
            _ => {}
        }
    }
    (choice.version > 0).then_some(choice)
}

/// The kind of the leaf's key, if it is one that our library cannot verify with.
fn foreign_key(body: &[u8]) -> Option<String> {
    let mut all = Reader(body);
    let mut certificates = Reader(all.vector(3)?);
    let (_, leaf) = X509Certificate::from_der(certificates.vector(3)?).ok()?;
    match leaf.public_key().parsed().ok()? {
        PublicKey::EC(point) if point.key_size() > 384 => Some("a key on P-521".into()),
        PublicKey::RSA(key) if key.key_size() < 2048 => Some(format!("an RSA key of {} bits", key.key_size())),
        PublicKey::DSA(_) => Some("a DSA key".into()),
        _ => None,
    }
}

fn name_of(table: &[(u16, &str)], number: u16) -> String {
    let known = table.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned());
    known.unwrap_or_else(|| format!("0x{number:04x}"))
}

impl Choice {
    /// What of it our library does not speak; absent if there is nothing.
    fn words(&self, spoken: &Spoken) -> Option<String> {
        let version = match self.version {
            0x0300 => "SSL 3.0",
            0x0301 => "TLS 1.0",
            0x0302 => "TLS 1.1",
            _ => "",
        };
        let suite = name_of(&SUITES, self.suite);
        if !version.is_empty() {
            return Some(format!("it speaks {version} at most ({suite}), this client TLS 1.2 and 1.3"));
        }
        if !spoken.suites.contains(&self.suite) {
            let exchange = match () {
                () if suite.starts_with("TLS_RSA_") => "RSA key exchange",
                () if suite.starts_with("TLS_DHE_") => "DHE key exchange",
                () if suite.contains("_CBC_") => "CBC encryption",
                () => "a cipher suite",
            };
            return Some(format!("it wants {exchange} ({suite}), this client speaks ECDHE with AES-GCM or ChaCha20-Poly1305"));
        }
        if let Some(group) = self.group.filter(|group| !spoken.groups.contains(group)) {
            let ours: Vec<String> = spoken.groups.iter().map(|group| name_of(&GROUPS, *group)).collect();
            return Some(format!("it wants the group {}, this client has {}", name_of(&GROUPS, group), ours.join(", ")));
        }
        self.key.as_ref().map(|key| format!("its certificate has {key}, which this client cannot verify"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken() -> Spoken {
        Spoken { suites: vec![0x1301, 0xc02f], groups: vec![29, 23, 24], ..Spoken::everything(true) }
    }

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind, 3, 3][..], &vector(2, content)].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &vector(3, body)].concat()
    }

    fn chosen(version: u16, suite: u16, extensions: &[u8]) -> Vec<u8> {
        let body = [&version.to_be_bytes()[..], &[0; 32], &[0], &suite.to_be_bytes(), &[0], &vector(2, extensions)].concat();
        message(SERVER_HELLO, &body)
    }

    #[test]
    fn what_we_do_not_speak_is_named() {
        let said = |stream: &[u8]| read(stream).expect("it chose").words(&spoken());
        let hello = |version, suite| record(HANDSHAKE, &chosen(version, suite, &[]));
        assert!(said(&hello(0x0301, 0x002f)).expect("it is old").contains("TLS 1.0 at most"));
        assert!(said(&hello(0x0303, 0x003c)).expect("it is old").contains("RSA key exchange (TLS_RSA_WITH_AES_128_CBC_SHA256)"));
        assert!(said(&hello(0x0303, 0xc013)).expect("it is old").contains("CBC"));
        assert_eq!(said(&hello(0x0303, 0xc02f)), None);
        let retry = [extension(43, &[3, 4]), extension(51, &[0, 25])].concat();
        let retry = record(HANDSHAKE, &chosen(0x0303, 0x1301, &retry));
        assert!(is_enough(&retry) && said(&retry).expect("it wants another").contains("the group P-521"));
        let exchange =
            [chosen(0x0303, 0xc02f, &[]), message(SERVER_KEY_EXCHANGE, &[3, 0, 25, 0]), message(HELLO_DONE, &[])].concat();
        // In two records, the border within a message.
        let cut = [record(HANDSHAKE, &exchange[..50]), record(HANDSHAKE, &exchange[50..])].concat();
        assert!(is_enough(&cut) && !is_enough(&cut[..cut.len() - 1]));
        assert!(said(&cut).expect("it wants another").contains("P-521"));
    }

    #[test]
    fn who_refuses_everything_chose_nothing() {
        assert_eq!(read(&record(ALERT, &[2, 40])), None);
        assert!(is_enough(&record(ALERT, &[2, 40])));
        assert_eq!(read(b"SSH-2.0-x\r\n"), None);
        let stream = record(HANDSHAKE, &chosen(0x0303, 0xc02f, &extension(43, &[3, 4])));
        for end in 0..stream.len() {
            let _ = read(&stream[..end]); // whatever breaks off is no panic
        }
    }

    #[test]
    fn a_hello_is_well_formed() {
        for newest in [true, false] {
            let (all, alert) = messages(&hello(Some("a.test"), &Spoken::everything(newest)));
            let found = whole(&all);
            assert!(found.len() == 1 && found[0].0 == 1 && !alert);
            let mut r = Reader(found[0].1);
            let (_, _, _) = (r.u16().expect("version"), r.take(32).expect("random"), r.vector(1).expect("session"));
            assert!(r.vector(2).expect("suites").len() >= 100 && r.vector(1) == Some(&[0]));
            let mut extensions = Reader(r.vector(2).expect("extensions"));
            let mut kinds = Vec::new();
            while let (Some(kind), Some(_)) = (extensions.u16(), extensions.vector(2)) {
                kinds.push(kind);
            }
            assert_eq!((kinds.contains(&0), kinds.contains(&43), extensions.0.len() + r.0.len()), (true, newest, 0));
        }
    }
}
