//! How packets are called in a page: by their own capture's numbers.
//!
//! In: a number of a record. Out: the file it lies in, if there are several, and its number there.

/// The files behind the numbers of a report; none where there is one evidence file only.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a>(pub &'a [String]);

/// Numbers of one file, as [`records::explained::ExplainReport::files`] has them.
const PER_FILE: u32 = 40;

impl<'a> Files<'a> {
    /// A packet: `95 of edge.pcap`, or `95`.
    pub fn packet(self, number: u64) -> String {
        let (name, number) = self.of(number);
        if name.is_empty() { number.to_string() } else { format!("{number} of {name}") }
    }

    /// The files, by their names.
    pub fn names(self) -> String {
        self.0.iter().map(|path| path.rsplit('/').next().unwrap_or(path)).collect::<Vec<_>>().join(", ")
    }

    /// Several: `95, 96 of edge.pcap`.
    pub fn packets(self, numbers: &[u64]) -> String {
        let mut said = String::new();
        for (i, number) in numbers.iter().enumerate() {
            let (name, own) = self.of(*number);
            let last_of_it = numbers.get(i + 1).is_none_or(|next| self.of(*next).0 != name);
            let of = if name.is_empty() || !last_of_it { String::new() } else { format!(" of {name}") };
            let comma = if i + 1 < numbers.len() { ", " } else { "" };
            said.push_str(&format!("{own}{of}{comma}"));
        }
        said
    }

    fn of(self, number: u64) -> (&'a str, u64) {
        if self.0.len() < 2 {
            return ("", number);
        }
        let place = number.saturating_sub(1) >> PER_FILE;
        let name = self.0.get(place as usize).map_or("", |path| path.rsplit('/').next().unwrap_or(path));
        (name, number - (place << PER_FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_their_own_captures_numbers() {
        let files = ["a/client.pcap".to_owned(), "b/edge.pcap".to_owned()];
        let (client, edge) = (95, (1 << 40) + 7);
        assert_eq!(Files(&files).packet(edge), "7 of edge.pcap");
        assert_eq!(Files(&files).packets(&[client, 96]), "95, 96 of client.pcap");
        assert_eq!(Files(&files).packets(&[client, edge]), "95 of client.pcap, 7 of edge.pcap");
        assert_eq!(Files(&files).packets(&[1 << 40]), format!("{} of client.pcap", 1_u64 << 40), "the last of the first");
        assert_eq!(Files(&files[..1]).packets(&[95, 96]), "95, 96");
        assert_eq!(Files(&[]).packet(12), "12");
    }
}
