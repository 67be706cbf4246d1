//! Names of DNS: types, classes and response codes as the exporter knows them.
//!
//! Numbers are IANA's ("Domain Name System (DNS) Parameters").

use hickory_resolver::proto::rr::{DNSClass, RecordType};

/// Types that the DNS library has no name for, or another one.
const TYPES: [(&str, u16); 51] = [
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
    ("UINFO", 100),
    ("UID", 101),
    ("GID", 102),
    ("UNSPEC", 103),
    ("NID", 104),
    ("L32", 105),
    ("L64", 106),
    ("LP", 107),
    ("TKEY", 249),
    ("MAILB", 253),
    ("MAILA", 254),
    ("TA", 32768),
    ("DLV", 32769),
    ("Reserved", 65535),
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

/// A type's name, if it has one.
pub(super) fn name_of_type(kind: RecordType) -> Option<String> {
    let ours = name_of(&TYPES, u16::from(kind)).map(str::to_owned);
    // What the library does not know it calls that.
    ours.or_else(|| (!matches!(kind, RecordType::Unknown(_))).then(|| kind.to_string()))
}

pub(super) fn name_of_class(class: DNSClass) -> Option<&'static str> {
    name_of(&CLASSES, u16::from(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_exporters_is_known() {
        for (name, number) in [
            ("UINFO", 100),
            ("NULL", 10),
            ("SIG", 24),
            ("L32", 105),
            ("MAILA", 254),
            ("TA", 32768),
            ("DLV", 32769),
            ("TKEY", 249),
            ("NSAP-PTR", 23),
        ] {
            assert_eq!(record_type(name).map(u16::from), Some(number), "{name}");
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
