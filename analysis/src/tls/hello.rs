//! What ClientHello and ServerHello say in clear.

use super::Version;

/// ServerHello.random of a HelloRetryRequest (RFC 8446, section 4.1.3).
pub(super) const HELLO_RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11, 0x16, 0x7A,
    0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

const SERVER_NAME: u16 = 0;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;

/// Record and handshake headers, and the version, stand before ClientHello.random.
const RANDOM_AT: usize = 5 + 4 + 2;
/// A header that names the client to a server behind a proxy begins so, and is no longer than that as text (the PROXY protocol, version 1
/// and 2).
const PROXY_TEXT: &[u8] = b"PROXY ";
const LONGEST_PROXY_TEXT: usize = 107;
const PROXY_BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// ClientHello.random, of the first bytes that a client sends: enough of them to hold it, perhaps behind a PROXY header.
pub fn client_random(begun: &[u8]) -> Option<[u8; 32]> {
    let hello = behind_proxy_header(begun)?;
    let is_hello = hello.first() == Some(&22) && hello.get(1) == Some(&3) && hello.get(5) == Some(&1);
    if is_hello { hello.get(RANDOM_AT..RANDOM_AT + 32)?.try_into().ok() } else { None }
}

fn behind_proxy_header(begun: &[u8]) -> Option<&[u8]> {
    if begun.starts_with(PROXY_TEXT) {
        let end = begun.iter().take(LONGEST_PROXY_TEXT).position(|byte| *byte == b'\n')?;
        return begun.get(end + 1..);
    }
    if begun.starts_with(PROXY_BINARY) {
        let length = begun.get(PROXY_BINARY.len() + 2..)?.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)))?;
        return begun.get(PROXY_BINARY.len() + 4 + length..);
    }
    Some(begun)
}

/// A ServerHello.
pub(super) struct ServerHello {
    pub version: Option<Version>,
    pub cipher_suite: u16,
    pub pre_shared_key: bool,
}

impl ServerHello {
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut r = Reader(body);
        let legacy = r.u16()?;
        r.take(32)?;
        // Drafts of TLS 1.3 up to 21 left out the session and the compression.
        let early_draft = legacy >> 8 == 0x7f;
        if !early_draft {
            r.vec8()?;
        }
        let cipher_suite = r.u16()?;
        if !early_draft {
            r.take(1)?;
        }
        let mut hello = ServerHello { version: Version::of(legacy), cipher_suite, pre_shared_key: false };
        r.extensions(|kind, value| match kind {
            SUPPORTED_VERSIONS => hello.version = Reader(value).u16().and_then(Version::of).or(hello.version),
            PRE_SHARED_KEY => hello.pre_shared_key = true,
            _ => {}
        });
        Some(hello)
    }
}

/// A ClientHello.
#[derive(Default)]
pub(super) struct ClientHello {
    pub random: Option<[u8; 32]>,
    pub server_name: Option<String>,
    pub early_data: bool,
}

impl ClientHello {
    /// Reads as much of it as is there.
    pub fn parse(body: &[u8]) -> Self {
        let mut hello = Self::default();
        let _ = hello.read(body);
        hello
    }

    fn read(&mut self, body: &[u8]) -> Option<()> {
        let mut r = Reader(body);
        r.take(2)?;
        self.random = r.take(32)?.try_into().ok();
        r.vec8()?;
        r.vec16()?;
        r.vec8()?;
        r.extensions(|kind, value| match kind {
            SERVER_NAME => self.server_name = server_name(value),
            EARLY_DATA => self.early_data = true,
            _ => {}
        });
        Some(())
    }
}

fn server_name(extension: &[u8]) -> Option<String> {
    let mut list = Reader(extension);
    list.take(3)?;
    let name = std::str::from_utf8(list.vec16()?).ok()?;
    // It goes to terminals and pages: a name has no control characters.
    (!name.chars().any(char::is_control)).then(|| name.to_owned())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }
    fn vec8(&mut self) -> Option<&'a [u8]> {
        let n = usize::from(self.take(1)?[0]);
        self.take(n)
    }
    fn vec16(&mut self) -> Option<&'a [u8]> {
        let n = usize::from(self.u16()?);
        self.take(n)
    }
    fn extensions(&mut self, mut each: impl FnMut(u16, &'a [u8])) {
        let Some(total) = self.u16().map(usize::from) else { return };
        let mut list = Reader(&self.0[..self.0.len().min(total)]);
        while let (Some(kind), Some(value)) = (list.u16(), list.vec16()) {
            each(kind, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_is_found_in_the_first_bytes_and_behind_a_proxys_header() {
        let random: [u8; 32] = std::array::from_fn(|n| n as u8);
        let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &random, &[32]].concat();
        let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n";
        let binary = [PROXY_BINARY, &[0x21, 0x11, 0, 12], &[0; 12]].concat();
        for before in [&b""[..], text, &binary] {
            let bytes = [before, &hello].concat();
            assert_eq!(client_random(&bytes), Some(random));
            for cut in 0..bytes.len() - 1 {
                assert_eq!(client_random(&bytes[..cut]), None, "cut at {cut}");
            }
        }
        let mut other = hello;
        other[5] = 2;
        assert_eq!(client_random(&other), None, "a ServerHello");
    }
}
