//! Names of DNS: types, classes and response codes as the exporter knows them, and records as it writes them.
//!
//! Numbers are IANA's ("Domain Name System (DNS) Parameters").

use hickory_resolver::proto::rr::{DNSClass, RData, Record, RecordType};

/// Types that the DNS library has no name for, or another one.
const TYPES: [(&str, u16); 37] = [
    ("MD", 3),
    ("MF", 4),
    ("MB", 7),
    ("MG", 8),
    ("MR", 9),
    ("MINFO", 14),
    ("RP", 17),
    ("AFSDB", 18),
    ("X25", 19),
    ("ISDN", 20),
    ("RT", 21),
    ("NSAP-PTR", 23),
    ("PX", 26),
    ("GPOS", 27),
    ("LOC", 29),
    ("NXT", 30),
    ("EID", 31),
    ("NIMLOC", 32),
    ("ATMA", 34),
    ("KX", 36),
    ("OPT", 41),
    ("APL", 42),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DHCID", 49),
    ("HIP", 55),
    ("NINFO", 56),
    ("RKEY", 57),
    ("TALINK", 58),
    ("ZONEMD", 63),
    ("SPF", 99),
    ("EUI48", 108),
    ("EUI64", 109),
    ("URI", 256),
    ("AVC", 258),
    ("IXFR", 251),
];

const CLASSES: [(&str, u16); 6] = [("IN", 1), ("CS", 2), ("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255)];

const CODES: [(&str, u16); 22] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("NOTIMPL", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("BADSIG", 16),
    ("BADVERS", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
    ("YXRRSet", 7),
];

fn number(table: &[(&str, u16)], name: &str) -> Option<u16> {
    table.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

pub(super) fn record_type(name: &str) -> Option<RecordType> {
    // The library takes ANAME for a type, which IANA does not know.
    let known = name.parse().ok().filter(|_| name != "ANAME" && name != "*");
    known.or_else(|| number(&TYPES, name).map(RecordType::from))
}

pub(super) fn class(name: &str) -> Option<DNSClass> {
    number(&CLASSES, name).map(DNSClass::from)
}

pub(super) fn code(name: &str) -> Option<u16> {
    number(&CODES, name)
}

fn name_of(table: &[(&'static str, u16)], number: u16) -> Option<&'static str> {
    table.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// A record in the form of zone files (RFC 1035, section 5.1), fields divided by tabs: what the exporter's expressions are written for.
pub(super) fn line(record: &Record) -> String {
    let number = u16::from(record.record_type());
    let kind = name_of(&TYPES, number).map_or_else(|| record.record_type().to_string(), str::to_owned);
    let class = u16::from(record.dns_class);
    let class = name_of(&CLASSES, class).map_or_else(|| format!("CLASS{class}"), str::to_owned);
    let data = match &record.data {
        RData::TXT(text) => text.txt_data.iter().map(|part| format!("\"{}\"", escaped(part))).collect::<Vec<_>>().join(" "),
        RData::HINFO(info) => format!("\"{}\" \"{}\"", escaped(&info.cpu), escaped(&info.os)),
        // RFC 3597, section 5.
        RData::Unknown { rdata, .. } => {
            let hex: String = rdata.anything.iter().map(|b| format!("{b:02x}")).collect();
            format!("\\# {} {hex}", rdata.anything.len())
        }
        RData::OPT(_) => String::new(),
        data => data.to_string(),
    };
    format!("{}\t{}\t{class}\t{kind}\t{data}", record.name.to_ascii(), record.ttl)
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

    use hickory_resolver::proto::rr::Name;
    use hickory_resolver::proto::rr::rdata::{A, MX, SOA, TXT};

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
    fn names_are_known() {
        assert_eq!((record_type("SOA"), record_type("RRSIG").map(u16::from)), (Some(RecordType::SOA), Some(46)));
        assert!(record_type("soa").is_none() && record_type("ANAME").is_none() && record_type("LOC").is_some());
        assert!(class("IN") == Some(DNSClass::IN) && class("in").is_none() && class("CS").is_some());
        assert_eq!((code("NXDOMAIN"), code("nxdomain")), (Some(3), None));
    }
}
