//! What `/probe` answers: families of gauges, each with its help and its samples, as text.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// Gauges by name. One that is set again has its last value, as in the exporter's registry.
#[derive(Default)]
pub(super) struct Families {
    families: BTreeMap<&'static str, Family>,
    /// What happened, for whoever asks with `debug=true`.
    notes: Vec<String>,
}

struct Family {
    help: &'static str,
    /// Values by labels, those as they are written.
    samples: BTreeMap<String, String>,
}

impl Families {
    /// Names a family; without a sample it is not shown.
    fn family(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.families.entry(name).or_insert_with(|| Family { help, samples: BTreeMap::new() })
    }

    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: impl Display) {
        self.family(name, help).samples.insert(String::new(), value.to_string());
    }

    pub fn labelled(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: impl Display) {
        let quoted = |word: &str| word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(label, word)| format!("{label}=\"{}\"", quoted(word))).collect();
        self.family(name, help).samples.insert(format!("{{{}}}", labels.join(",")), value.to_string());
    }

    pub fn note(&mut self, what: impl Display) {
        self.notes.push(what.to_string());
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// As text, format 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in self.families.iter().filter(|(_, family)| !family.samples.is_empty()) {
            // Writing to memory cannot fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", family.help);
            for (labels, value) in &family.samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stand_together_and_the_last_value_counts() {
        let mut families = Families::default();
        families.gauge("b", "of b", 0);
        families.labelled("a", "of a", &[("x", "one"), ("y", "q\"\\\n")], 1.5);
        families.labelled("a", "of a", &[("x", "two")], 2);
        families.gauge("b", "of b", 200);
        let said = "# HELP a of a\n# TYPE a gauge\na{x=\"one\",y=\"q\\\"\\\\\\n\"} 1.5\na{x=\"two\"} 2\n# HELP b of b\n# TYPE b gauge\nb 200\n";
        assert_eq!(families.text(), said);
    }
}
