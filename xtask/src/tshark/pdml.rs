//! tshark's XML. In: PDML. Out: TCP segments as tshark dissected them; what it could not dissect whole is left out.

use std::collections::BTreeSet;
use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// A TCP segment.
pub(super) struct Packet {
    pub source: String,
    pub destination: String,
    pub stream: u64,
    pub syn: bool,
    pub ack: bool,
    pub len: u64,
    pub seq: u64,
    pub number: u64,
    pub at: f64,
    /// TLS records whose last byte it carries.
    pub records: Vec<Record>,
}

pub(super) struct Record {
    pub kinds: BTreeSet<u64>,
    pub messages: Vec<Message>,
}

/// A handshake message, as far as it can be read.
pub(super) struct Message {
    pub kind: u64,
    /// Hexadecimal, without colons.
    pub random: String,
    pub versions: Vec<String>,
    pub supported_versions: Vec<String>,
    pub extensions: Vec<String>,
    pub names: Vec<String>,
}

/// An element of a packet's tree.
#[derive(Default)]
struct Element {
    name: String,
    show: String,
    children: Vec<Element>,
}

/// All packets up to the end, or to where the XML breaks off.
pub(super) fn read(pdml: impl BufRead) -> Vec<Packet> {
    let mut reader = Reader::from_reader(pdml);
    let (mut packets, mut open, mut buffer) = (Vec::new(), Vec::<Element>::new(), Vec::new());
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer) {
            // Of what is outside of packets there is only the root.
            Ok(Event::Start(start)) if start.name().as_ref() == b"packet" => open = vec![Element::default()],
            Ok(Event::Start(start)) if !open.is_empty() => open.push(Element::of(&start)),
            Ok(Event::Empty(start)) => {
                if let Some(parent) = open.last_mut() {
                    parent.children.push(Element::of(&start));
                }
            }
            Ok(Event::End(_)) => {
                let Some(done) = open.pop() else { continue };
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => packets.extend(Packet::of(&done)),
                }
            }
            Ok(Event::Eof) | Err(_) => return packets,
            Ok(_) => {}
        }
    }
}

impl Element {
    fn of(start: &BytesStart<'_>) -> Self {
        let attribute = |wanted: &str| {
            let found = start.try_get_attribute(wanted).ok().flatten();
            found.and_then(|a| Some(a.unescape_value().ok()?.into_owned())).unwrap_or_default()
        };
        Self { name: attribute("name"), show: attribute("show"), children: Vec::new() }
    }

    /// It and all below it.
    fn all(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        Box::new(std::iter::once(self).chain(self.children.iter().flat_map(Self::all)))
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.all().filter(move |e| e.name == name)
    }

    fn values(&self, name: &str) -> Vec<String> {
        self.named(name).map(|e| e.show.clone()).collect()
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.all().find(|e| e.name == name).map(|e| e.show.as_str())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }
}

impl Packet {
    fn of(packet: &Element) -> Option<Self> {
        let protocols = &packet.children;
        let at = protocols.iter().position(|p| p.name == "tcp")?;
        let tcp = &protocols[at];
        let ip = protocols[..at].iter().rev().find(|p| p.name == "ip" || p.name == "ipv6")?;
        let end = |which: &str| {
            Some(format!("{}:{}", ip.value(&format!("{}.{which}", ip.name))?, tcp.value(&format!("tcp.{which}port"))?))
        };
        let flags = u64::from_str_radix(tcp.value("tcp.flags")?.trim_start_matches("0x"), 16).ok()?;
        let frame = protocols.iter().find(|p| p.name == "frame")?;
        let records = protocols.iter().filter(|p| p.name == "tls").flat_map(|p| p.named("tls.record")).map(Record::of).collect();
        Some(Self {
            source: end("src")?,
            destination: end("dst")?,
            stream: tcp.number("tcp.stream")?,
            syn: flags & 0x02 != 0,
            ack: flags & 0x10 != 0,
            len: tcp.number("tcp.len").unwrap_or(0),
            seq: tcp.number("tcp.seq").unwrap_or(0),
            number: frame.number("frame.number")?,
            at: frame.value("frame.time_epoch")?.parse().ok()?,
            records,
        })
    }
}

impl Record {
    fn of(record: &Element) -> Self {
        let kinds = ["tls.record.content_type", "tls.record.opaque_type"];
        let kinds = kinds.iter().flat_map(|name| record.named(name)).filter_map(|e| e.show.parse().ok()).collect();
        Self { kinds, messages: record.named("tls.handshake").filter_map(Message::of).collect() }
    }
}

impl Message {
    fn of(message: &Element) -> Option<Self> {
        Some(Self {
            kind: message.number("tls.handshake.type")?,
            random: message.value("tls.handshake.random").unwrap_or_default().replace(':', ""),
            versions: message.values("tls.handshake.version"),
            supported_versions: message.values("tls.handshake.extensions.supported_version"),
            extensions: message.values("tls.handshake.extension.type"),
            names: message.values("tls.handshake.extensions_server_name"),
        })
    }
}

#[cfg(test)]
mod tests {
    const PDML: &str = r#"<?xml version="1.0"?><pdml>
<packet><proto name="frame"><field name="frame.number" show="7"/><field name="frame.time_epoch" show="3.5"/></proto>
<proto name="ip"><field name="ip.src" show="10.0.0.1"/><field name="ip.dst" show="10.0.0.2"/></proto>
<proto name="tcp"><field name="tcp.srcport" show="5"/><field name="tcp.dstport" show="443"/><field name="tcp.stream" show="0"/>
<field name="tcp.flags" show="0x0018"/><field name="tcp.len" show="9"/></proto>
<proto name="tls"><field name="tls.record"><field name="tls.record.content_type" show="22"/>
<field name="tls.handshake"><field name="tls.handshake.type" show="1"/><field name="tls.handshake.random" show="ab:cd"/></field></field></proto></packet>
<packet><proto name="frame"><field name="frame.number" show="8"/></proto></packet>
<packet><proto name="fra"#;

    #[test]
    fn segments_are_read_until_the_xml_breaks_off() {
        let packets = super::read(PDML.as_bytes());
        assert_eq!(packets.len(), 1);
        let packet = &packets[0];
        assert_eq!((packet.source.as_str(), packet.destination.as_str(), packet.number), ("10.0.0.1:5", "10.0.0.2:443", 7));
        assert_eq!((packet.syn, packet.ack, packet.len, packet.seq, packet.at), (false, true, 9, 0, 3.5));
        let record = &packet.records[0];
        assert_eq!((record.kinds.contains(&22), record.messages[0].kind, record.messages[0].random.as_str()), (true, 1, "abcd"));
    }
}
