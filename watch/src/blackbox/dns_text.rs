//! DNS as text: records as the exporter writes them, which is what its expressions are written for, and names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_resolver::proto::rr::{Name, RData, Record};

use super::dns_names;

/// How a part of a record's data is written.
#[derive(Clone, Copy)]
enum Part {
    /// One octet, as a number.
    Byte,
    /// Two.
    Number,
    Name,
    /// Text behind its length, in quotes, until the end.
    Texts,
    /// The rest, as text in quotes.
    Text,
    /// The rest in upper case.
    Hex,
    Base64,
    /// The rest, octets divided by dashes.
    Dashed,
}

use Part::{Base64, Byte, Dashed, Hex, Number, Text, Texts};

/// Data of types that the library leaves as it came.
const DATA: [(u16, &[Part]); 17] = [
    (14, &[Part::Name, Part::Name]),     // MINFO
    (17, &[Part::Name, Part::Name]),     // RP
    (18, &[Number, Part::Name]),         // AFSDB
    (21, &[Number, Part::Name]),         // RT
    (25, &[Number, Byte, Byte, Base64]), // KEY
    (36, &[Number, Part::Name]),         // KX
    (39, &[Part::Name]),                 // DNAME
    (43, &[Number, Byte, Byte, Hex]),    // DS
    (48, &[Number, Byte, Byte, Base64]), // DNSKEY
    (59, &[Number, Byte, Byte, Hex]),    // CDS
    (60, &[Number, Byte, Byte, Base64]), // CDNSKEY
    (99, &[Texts]),                      // SPF
    (108, &[Dashed]),                    // EUI48
    (109, &[Dashed]),                    // EUI64
    (256, &[Number, Number, Text]),      // URI
    (32768, &[Number, Byte, Byte, Hex]), // TA
    (32769, &[Number, Byte, Byte, Hex]), // DLV
];

/// A record in the form of zone files (RFC 1035, section 5.1), fields divided by tabs: what the exporter's expressions are written for.
pub(super) fn line(record: &Record) -> String {
    let (kind, class) = (record.record_type(), record.dns_class);
    let known = dns_names::name_of_type(kind);
    // Where the type has no name, the class has none either (RFC 3597, section 5).
    let class = dns_names::name_of_class(class)
        .filter(|_| known.is_some())
        .map_or_else(|| format!("CLASS{}", u16::from(class)), str::to_owned);
    let data = data(u16::from(kind), &record.data);
    let kind = known.unwrap_or_else(|| format!("TYPE{}", u16::from(kind)));
    format!("{}\t{}\t{class}\t{kind}\t{data}", written(&record.name), record.ttl)
}

fn data(kind: u16, data: &RData) -> String {
    match data {
        RData::TXT(text) => quoted(text.txt_data.iter().map(|part| &**part)),
        RData::HINFO(info) => quoted([&*info.cpu, &*info.os].into_iter()),
        RData::NS(name) => written(&name.0),
        RData::CNAME(name) => written(&name.0),
        RData::PTR(name) => written(&name.0),
        RData::MX(mx) => format!("{} {}", mx.preference, written(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, written(&srv.target)),
        RData::SOA(soa) => {
            let numbers = format!("{} {} {} {} {}", soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum);
            format!("{} {} {numbers}", written(&soa.mname), written(&soa.rname))
        }
        RData::SSHFP(found) => {
            format!(
                "{} {} {}",
                u8::from(found.algorithm),
                u8::from(found.fingerprint_type),
                hex(&found.fingerprint).to_uppercase()
            )
        }
        RData::CERT(found) => {
            let kind = u16::from(found.cert_type);
            let names = ["PKIX", "SPKI", "PGP", "IPIX", "ISPKI", "IPGP", "ACPKIX", "IACPKIX"];
            let named = usize::from(kind).checked_sub(1).and_then(|n| names.get(n));
            let kind = named.map_or_else(|| kind.to_string(), |name| (*name).to_owned());
            format!("{kind} {} {} {}", found.key_tag, u8::from(found.algorithm), STANDARD.encode(&found.cert_data))
        }
        RData::Unknown { rdata, .. } => {
            let bytes = &rdata.anything;
            let parts = DATA.iter().find(|(known, _)| *known == kind).and_then(|(_, parts)| in_parts(bytes, parts));
            parts.unwrap_or_else(|| format!("\\# {} {}", bytes.len(), hex(bytes)))
        }
        RData::OPT(_) => String::new(),
        data => data.to_string(),
    }
}

/// Data by its parts; absent if it is not as it should be.
fn in_parts(mut bytes: &[u8], parts: &[Part]) -> Option<String> {
    let mut pieces = Vec::new();
    for part in parts {
        let rest = || bytes;
        let (piece, left) = match part {
            Byte => bytes.split_first().map(|(b, left)| (b.to_string(), left))?,
            Number => bytes.split_first_chunk().map(|(b, left)| (u16::from_be_bytes(*b).to_string(), left))?,
            Part::Name => name_in(bytes).map(|(name, left)| (written(&name), left))?,
            Texts => (quoted(texts_in(bytes)?.into_iter()), &[][..]),
            Text => (quoted([rest()].into_iter()), &[][..]),
            Hex => (hex(rest()).to_uppercase(), &[][..]),
            Base64 => (STANDARD.encode(rest()), &[][..]),
            Dashed => (rest().iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join("-"), &[][..]),
        };
        pieces.push(piece);
        bytes = left;
    }
    bytes.is_empty().then(|| pieces.join(" "))
}

/// A name that is not compressed, and what stands behind it.
fn name_in(mut bytes: &[u8]) -> Option<(Name, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (len, rest) = bytes.split_first()?;
        let (label, left) = rest.split_at_checked(usize::from(*len))?;
        bytes = left;
        if label.is_empty() {
            return Some((Name::from_labels(labels).ok()?, bytes));
        }
        labels.push(label);
    }
}

fn texts_in(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut texts = Vec::new();
    while let Some((len, rest)) = bytes.split_first() {
        let (text, left) = rest.split_at_checked(usize::from(*len))?;
        texts.push(text);
        bytes = left;
    }
    Some(texts)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn quoted<'a>(texts: impl Iterator<Item = &'a [u8]>) -> String {
    texts.map(|text| format!("\"{}\"", escaped(text))).collect::<Vec<_>>().join(" ")
}

/// A name from its text: octets between dots, of which `\.` and `\032` are some (RFC 1035, section 5.1); absent if it is none.
pub(super) fn read(text: &str) -> Option<Name> {
    let (mut labels, mut bytes) = (vec![Vec::new()], text.as_bytes());
    while let Some((b, rest)) = bytes.split_first() {
        bytes = rest;
        let octet = match b {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => match rest.split_first_chunk::<3>().filter(|(digits, _)| digits.iter().all(u8::is_ascii_digit)) {
                Some((digits, left)) => {
                    bytes = left;
                    std::str::from_utf8(digits).ok()?.parse().ok()?
                }
                None => {
                    let (escaped, left) = rest.split_first()?;
                    bytes = left;
                    *escaped
                }
            },
            octet => *octet,
        };
        labels.last_mut()?.push(octet);
    }
    // Behind the last dot nothing stands; the root is a dot alone.
    let _ = labels.pop_if(|last| last.is_empty());
    if text == "." {
        labels.clear();
    }
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// A name as its text.
fn written(name: &Name) -> String {
    let octet = |b: &u8| match b {
        b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => format!("\\{}", char::from(*b)),
        b'!'..=b'~' => char::from(*b).to_string(),
        other => format!("\\{other:03}"),
    };
    let labels: String = name.iter().map(|label| label.iter().map(octet).collect::<String>() + ".").collect();
    if labels.is_empty() { ".".to_owned() } else { labels }
}

fn escaped(text: &[u8]) -> String {
    let one = |b: &u8| match b {
        b'"' | b'\\' => format!("\\{}", char::from(*b)),
        b' '..=b'~' => char::from(*b).to_string(),
        other => format!("\\{other:03}"),
    };
    text.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::proto::rr::RecordType;
    use hickory_resolver::proto::rr::rdata::{A, CERT, CNAME, MX, NULL, SOA, SSHFP, TXT};

    use super::*;

    #[test]
    fn records_are_written_as_in_zone_files() {
        let name = |text: &str| Name::from_ascii(text).expect("a name");
        let soa = SOA::new(name("ns.a.test."), name("me.a.test."), 2026, 1, 2, 3, 4);
        for (data, said) in [
            (RData::A(A(Ipv4Addr::new(192, 0, 2, 1))), "a.test.\t300\tIN\tA\t192.0.2.1"),
            (RData::MX(MX::new(10, name("m.a.test."))), "a.test.\t300\tIN\tMX\t10 m.a.test."),
            (RData::SOA(soa), "a.test.\t300\tIN\tSOA\tns.a.test. me.a.test. 2026 1 2 3 4"),
            (RData::TXT(TXT::new(vec!["v=1".into(), "a \"b\"".into()])), "a.test.\t300\tIN\tTXT\t\"v=1\" \"a \\\"b\\\"\""),
        ] {
            assert_eq!(line(&Record::from_rdata(name("a.test."), 300, data)), said);
        }
    }

    #[test]
    fn data_that_the_library_does_not_write_is_written_as_the_exporter_has_it() {
        let name = |text: &str| Name::from_ascii(text).expect("a name");
        let raw = |code: u16, bytes: &[u8]| RData::Unknown { code: RecordType::from(code), rdata: NULL::with(bytes.to_vec()) };
        let odd = Name::from_labels([&b"a\xff b."[..], b"x_y/z"]).expect("labels");
        for (data, said) in [
            (raw(39, b"\x01b\x04test\0"), "DNAME\tb.test."),
            (raw(17, b"\x01b\0\x01c\0"), "RP\tb. c."),
            (raw(18, b"\0\x01\x01b\0"), "AFSDB\t1 b."),
            (raw(36, b"\0\x01\x01b\0"), "KX\t1 b."),
            (raw(43, b"\x30\x39\x08\x02\xab\xcd"), "DS\t12345 8 2 ABCD"),
            (raw(48, b"\x01\x01\x03\x0dhello"), "DNSKEY\t257 3 13 aGVsbG8="),
            (raw(99, b"\x04v=sp\x01\""), "SPF\t\"v=sp\" \"\\\"\""),
            (raw(256, b"\0\x0a\0\x01http://a/"), "URI\t10 1 \"http://a/\""),
            (raw(108, b"\0\x11\x22\x33\x44\xff"), "EUI48\t00-11-22-33-44-ff"),
            // What is not as it should be is written as it came.
            (raw(43, b"\x30"), "DS\t\\# 1 30"),
            (RData::SSHFP(SSHFP::new(4.into(), 2.into(), vec![0xab, 1])), "SSHFP\t4 2 AB01"),
            (RData::CERT(CERT::new(1.into(), 0, 0.into(), b"hello".to_vec())), "CERT\tPKIX 0 0 aGVsbG8="),
            (RData::CNAME(CNAME(odd.clone())), "CNAME\ta\\255\\ b\\..x_y/z."),
            (RData::MX(MX::new(5, odd.clone())), "MX\t5 a\\255\\ b\\..x_y/z."),
        ] {
            assert_eq!(line(&Record::from_rdata(name("a.test."), 300, data)), format!("a.test.\t300\tIN\t{said}"));
        }
        let unknown = Record::from_rdata(name("a.test."), 300, raw(65400, b"\x01\xab"));
        assert_eq!(line(&unknown), "a.test.\t300\tCLASS1\tTYPE65400\t\\# 2 01ab");
        let record = Record::from_rdata(odd, 1, RData::A(A(Ipv4Addr::LOCALHOST)));
        assert_eq!(line(&record), "a\\255\\ b\\..x_y/z.\t1\tIN\tA\t127.0.0.1");
    }
}
