//! Keys: by what somebody who saw one end of a connection names it to somebody who saw the other.
//!
//! Address and port name it as long as nothing on the way translates them. ClientHello.random (RFC 8446, section 4.1.2) is 32 bytes that
//! the client draws for each handshake: it passes address translation, and no two connections have the same by chance.
//!
//! In: text, segments. Out: keys, and whether a segment belongs to a connection that one of them names.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::str::FromStr;

use foldhash::HashSet;
use serde::{Deserialize, Serialize};

use crate::tls::client_random;
use crate::wire::packet::TcpSegment;

/// Bytes of ClientHello.random.
const RANDOM: usize = 32;
/// Hexadecimal ones.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What a connection is asked for by. As text: `192.0.2.7:40000`, `192.0.2.7:40000,198.51.100.1:443`, or 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Key {
    /// By its ends.
    Ends {
        /// The client's.
        client: SocketAddr,
        /// The server's; absent: any.
        server: Option<SocketAddr>,
    },
    /// By ClientHello.random.
    Random([u8; RANDOM]),
}

/// What is no [`Key`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` names no connection: write the client's address and port (192.0.2.7:40000, and perhaps ,SERVER:PORT), or the 64 hexadecimal digits of ClientHello.random"
)]
pub struct NoKey(String);

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let no = || NoKey(text.chars().take(100).collect());
        if let Some(random) = of_hex(text) {
            return Ok(Self::Random(random));
        }
        let end = |text: &str| text.parse::<SocketAddr>().map_err(|_| no());
        match text.split_once(',') {
            Some((client, server)) => Ok(Self::Ends { client: end(client)?, server: Some(end(server)?) }),
            None => Ok(Self::Ends { client: end(text)?, server: None }),
        }
    }
}

fn of_hex(text: &str) -> Option<[u8; RANDOM]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).and_then(|n| u8::try_from(n).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 2 * RANDOM).then(|| bytes.try_into().ok())?
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ends { client, server: None } => write!(f, "{client}"),
            Self::Ends { client, server: Some(server) } => write!(f, "{client},{server}"),
            // In one piece: a record has one of them, and formatting byte by byte costs as much as all of its other texts.
            Self::Random(random) => {
                let digits = random.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
                f.write_str(&digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect::<String>())
            }
        }
    }
}

impl TryFrom<String> for Key {
    type Error = NoKey;

    fn try_from(text: String) -> Result<Self, NoKey> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

/// Several keys, to be held against many segments.
#[derive(Clone, Default, Debug)]
pub struct Keys {
    clients: HashSet<SocketAddr>,
    pairs: HashSet<(SocketAddr, SocketAddr)>,
    randoms: HashSet<[u8; RANDOM]>,
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut all = Self::default();
        for key in keys {
            match key {
                Key::Ends { client, server: None } => drop(all.clients.insert(plain(client))),
                Key::Ends { client, server: Some(server) } => drop(all.pairs.insert((plain(client), plain(server)))),
                Key::Random(random) => drop(all.randoms.insert(random)),
            }
        }
        all
    }
}

impl Keys {
    /// Whether a segment shows that its connection is one of these: by its ends, or as the beginning of a ClientHello. Other segments of
    /// the same connection need not show it.
    pub fn show(&self, segment: &TcpSegment<'_>) -> bool {
        let (from, to) = (plain(segment.source()), plain(segment.destination()));
        let named =
            || [(from, to), (to, from)].into_iter().any(|ends| self.clients.contains(&ends.0) || self.pairs.contains(&ends));
        named() || !self.randoms.is_empty() && client_random(segment.payload).is_some_and(|random| self.randoms.contains(&random))
    }
}

/// IPv4 that came mapped into IPv6 is the same end.
fn plain(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::{LinkType, Transport, decode};

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let random = "00112233445566778899aabbccddeeff0123456789abcdef0123456789ABCDEF";
        for text in ["192.0.2.7:40000", "[2001:db8::7]:40000", "192.0.2.7:40000,198.51.100.1:443", &random.to_lowercase()] {
            assert_eq!(text.parse::<Key>().map(|key| key.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(random.parse::<Key>(), random.to_lowercase().parse());
        for bad in ["", "192.0.2.7", "192.0.2.7:40000,", "login.example.com:443", &random[1..], &format!("{random}0"), "ä:1"] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
    }

    /// A frame from 192.0.2.7:40000 to 198.51.100.1:443, or back.
    fn frame(back: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(u16::try_from(40 + payload.len()).expect("it is short").to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        let (client, server) = ([192, 0, 2, 7], [198, 51, 100, 1]);
        let (client_port, server_port) = (40_000_u16.to_be_bytes(), 443_u16.to_be_bytes());
        if back {
            frame.extend([server, client].concat());
            frame.extend([server_port, client_port].concat());
        } else {
            frame.extend([client, server].concat());
            frame.extend([client_port, server_port].concat());
        }
        frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_segment_shows_whose_it_is_by_its_ends_or_its_clienthello() {
        let random: [u8; RANDOM] = std::array::from_fn(|n| n as u8);
        let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &random].concat();
        let digits = Key::Random(random).to_string();
        let shows = |key: &str, back: bool, payload: &[u8]| {
            let keys: Keys = [key.parse::<Key>().expect("a key")].into_iter().collect();
            let frame = frame(back, payload);
            match decode(LinkType::Ethernet, &frame) {
                Ok(Transport::Tcp(segment)) => keys.show(&segment),
                _ => panic!("it is a segment"),
            }
        };
        for key in ["192.0.2.7:40000", "192.0.2.7:40000,198.51.100.1:443", "[::ffff:192.0.2.7]:40000"] {
            assert!(shows(key, false, b"") && shows(key, true, b""), "{key}");
        }
        for key in
            ["192.0.2.7:40001", "198.51.100.9:40000", "192.0.2.7:40000,198.51.100.1:8443", "198.51.100.1:443,192.0.2.7:40000"]
        {
            // The last names both ends, whichever of them was the client's.
            assert_eq!(shows(key, false, &hello), key.starts_with("198.51.100.1:443"), "{key}");
        }
        assert!(shows(&digits, false, &hello) && !shows(&digits, false, b"") && !shows(&digits, false, &hello[..40]));
        assert!(!shows(&digits.replace('0', "1"), false, &hello));
    }
}
