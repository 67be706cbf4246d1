//! A time has a type: in public signatures it says which clock it is of, or that it is a length, and in which unit.
//!
//! In: the sources of crates whose times come from several clocks. Looked at is what other modules can see: fields, parameters, results,
//! constants. One that is a bare number though its name or what is written about it speaks of time fails, with what to use instead.

use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{
    Attribute, Expr, Fields, FnArg, ImplItem, Item, ItemImpl, Lit, Meta, Pat, ReturnType, Signature, TraitItem, Type, Visibility,
};

/// Whose sources are looked at.
const CRATES: [&str; 8] = ["prober", "watch", "recorder", "capture", "alerting", "agent", "vantage", "explain"];

/// Words that are of a time when they stand in a name.
const OF_TIME: &str = "at now since from until when then due begun started ended elapsed age ahead lateness latency offset duration rtt \
                       timeout deadline interval window time timestamp clock ns nanos us micros ms millis secs seconds minutes hours";

/// What documentation calls a time.
const UNITS: [&str; 6] = ["nanoseconds", "microseconds", "milliseconds", "seconds", "since the epoch", "since the unix epoch"];

/// A byte is no time, and a size or a place in memory is none either.
const INTEGERS: [&str; 8] = ["i16", "i32", "i64", "i128", "u16", "u32", "u64", "u128"];
const FLOATS: [&str; 2] = ["f32", "f64"];

/// A length in a record may be a float whose name ends with its unit: that is how JSON has it.
const OF_RECORDS: [&str; 2] = ["ms", "seconds"];

/// What is left to be a number, and why.
const ALLOWED: [(&str, &str); 4] = [
    ("capture/src/interface.rs: Interface::legacy_time: seconds", PACKET_HEADER),
    ("capture/src/interface.rs: Interface::legacy_time: fraction", PACKET_HEADER),
    ("capture/src/interface.rs: Interface::time: ticks", PACKET_HEADER),
    ("watch/src/store.rs: RoundRecord.parts", "JSON that databases hold: phase, owner and milliseconds of each part"),
];
const PACKET_HEADER: &str = "a packet header's own fields, in the unit that its interface says: here they become a time";

/// What was found in one file: `place: what`.
#[derive(Default)]
struct Found(Vec<String>);

/// The bare numbers that a type is made of.
#[derive(Default)]
struct Numbers {
    integers: bool,
    floats: bool,
}

impl<'ast> Visit<'ast> for Numbers {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        self.integers |= INTEGERS.iter().any(|name| segment.ident == name);
        self.floats |= FLOATS.iter().any(|name| segment.ident == name);
        syn::visit::visit_path_segment(self, segment);
    }
}

fn numbers(of: &Type) -> Numbers {
    let mut numbers = Numbers::default();
    numbers.visit_type(of);
    numbers
}

fn docs(attributes: &[Attribute]) -> String {
    let text = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(text).collect::<String>().to_lowercase()
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| a.path().is_ident("cfg") && a.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test")))
}

fn is_seen(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// Whether a name has a word of time in it.
fn is_time(name: &str) -> bool {
    name.to_lowercase().split('_').any(|word| OF_TIME.split(' ').any(|of_time| of_time == word))
}

impl Found {
    /// Looks at something with a name and a type. A field of a record may be a float.
    fn look(&mut self, place: &str, name: &str, said: &str, of: &Type, is_field: bool) {
        let Numbers { integers, floats } = numbers(of);
        let floats = floats && !(is_field && OF_RECORDS.iter().any(|unit| name == *unit || name.ends_with(&format!("_{unit}"))));
        if (integers || floats) && (is_time(name) || UNITS.iter().any(|unit| said.contains(unit))) {
            self.0.push(format!("{place}{name}"));
        }
    }

    fn fields(&mut self, place: &str, fields: &Fields, all: bool) {
        for (i, field) in fields.iter().enumerate().filter(|(_, field)| all || is_seen(&field.vis)) {
            let name = field.ident.as_ref().map_or_else(|| i.to_string(), ToString::to_string);
            self.look(place, &name, &docs(&field.attrs), &field.ty, true);
        }
    }

    /// Looks at parameters, and at the result, which has the function's name.
    fn function(&mut self, place: &str, signature: &Signature, attributes: &[Attribute]) {
        let (name, said) = (signature.ident.to_string(), docs(attributes));
        for parameter in &signature.inputs {
            if let FnArg::Typed(parameter) = parameter
                && let Pat::Ident(ident) = &*parameter.pat
            {
                self.look(&format!("{place}{name}: "), &ident.ident.to_string(), &said, &parameter.ty, false);
            }
        }
        if let ReturnType::Type(_, result) = &signature.output {
            self.look(place, &name, &said, result, false);
        }
    }

    /// Looks at items; `newtypes`: types that give one number its meaning, and may say which number it is.
    fn items(&mut self, place: &str, items: &[Item]) {
        let newtypes: Vec<String> = items.iter().filter_map(newtype).collect();
        for item in items {
            match item {
                Item::Fn(item) if is_seen(&item.vis) && !is_of_tests(&item.attrs) => {
                    self.function(place, &item.sig, &item.attrs);
                }
                Item::Struct(item) => self.fields(&format!("{place}{}.", item.ident), &item.fields, false),
                Item::Enum(item) if is_seen(&item.vis) => {
                    for variant in &item.variants {
                        let place = format!("{place}{}::{}.", item.ident, variant.ident);
                        self.fields(&place, &variant.fields, true);
                    }
                }
                Item::Const(item) if is_seen(&item.vis) => {
                    self.look(place, &item.ident.to_string(), &docs(&item.attrs), &item.ty, false);
                }
                // A type's name is no value's: "hours" may be a list that has counts in it.
                Item::Type(item) if is_seen(&item.vis) => {
                    self.look(&format!("{place}{}", item.ident), "", &docs(&item.attrs), &item.ty, false);
                }
                Item::Trait(item) if is_seen(&item.vis) => {
                    for inner in &item.items {
                        if let TraitItem::Fn(inner) = inner {
                            self.function(&format!("{place}{}::", item.ident), &inner.sig, &inner.attrs);
                        }
                    }
                }
                Item::Impl(item) if item.trait_.is_none() => self.methods(place, item, &newtypes),
                Item::Mod(item) if !is_of_tests(&item.attrs) => {
                    let inner = item.content.as_ref().map_or(&[][..], |(_, inner)| inner);
                    self.items(&format!("{place}{}::", item.ident), inner);
                }
                _ => {}
            }
        }
    }

    fn methods(&mut self, place: &str, of: &ItemImpl, newtypes: &[String]) {
        let Type::Path(path) = &*of.self_ty else { return };
        let name = path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if newtypes.contains(&name) {
            return;
        }
        let place = format!("{place}{name}::");
        for item in &of.items {
            match item {
                ImplItem::Fn(item) if is_seen(&item.vis) && !is_of_tests(&item.attrs) => {
                    self.function(&place, &item.sig, &item.attrs);
                }
                ImplItem::Const(item) if is_seen(&item.vis) => {
                    self.look(&place, &item.ident.to_string(), &docs(&item.attrs), &item.ty, false);
                }
                _ => {}
            }
        }
    }
}

/// The name of a type that is one number which nobody else sees.
fn newtype(item: &Item) -> Option<String> {
    let Item::Struct(item) = item else { return None };
    let Fields::Unnamed(fields) = &item.fields else { return None };
    let field = fields.unnamed.first().filter(|field| fields.unnamed.len() == 1 && !is_seen(&field.vis))?;
    numbers(&field.ty).integers.then(|| item.ident.to_string())
}

/// What a source has of bare times.
fn bare_times(source: &str) -> Vec<String> {
    let file = syn::parse_file(source).unwrap_or_else(|e| panic!("{e}:\n{source}"));
    let mut found = Found::default();
    found.items("", &file.items);
    found.0
}

/// Sources below a folder, but for those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths =
        entries.map(|entry| entry.expect("it can be listed").path()).filter(|path| path.file_stem() != Some("tests".as_ref()));
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension() == Some("rs".as_ref()));
    files.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

#[test]
fn no_public_time_is_a_bare_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for name in CRATES {
        let all = sources(&root.join(name).join("src"));
        assert!(all.len() > 5, "{name}: there are sources");
        for path in all {
            let source = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let file = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            found.extend(bare_times(&source).into_iter().map(|what| format!("{file}: {what}")));
        }
    }
    found.sort();
    let is_allowed = |what: &String| ALLOWED.iter().any(|(allowed, _)| what == allowed);
    let (allowed, found): (Vec<String>, Vec<String>) = found.into_iter().partition(is_allowed);
    assert!(
        found.is_empty(),
        "bare numbers that are times; use analysis::clock::Instant with its clock, Span or std::time::Duration for a length, \
         alerting::clock::UnixSeconds for wall seconds:\n{}",
        found.join("\n")
    );
    let unneeded: Vec<_> = ALLOWED.iter().filter(|(what, _)| !allowed.iter().any(|found| found == what)).collect();
    assert!(unneeded.is_empty(), "these are no bare times (any more): {unneeded:?}");
}

#[test]
fn bare_times_are_found_wherever_they_stand() {
    let source = r#"
        pub struct Frame<'a> { /// When, in nanoseconds of CLOCK_MONOTONIC.
            pub at: i64, pub wire_len: u32, at_first: i64, pub bytes: &'a [u8] }
        pub struct Sum { /// In seconds.
            pub kept: Option<u64>, pub total_ms: f64 }
        /// How long counts are kept, in seconds.
        pub const KEPT: i64 = 600;
        pub enum Answer { Time { now_ns: i64 } }
        pub type Looks = VecDeque<(i64, FlowName)>;
        pub fn open(clock: impl Fn() -> i64, due_from: u64) {}
        impl Screen {
            pub fn tick(&mut self, now: i64) -> Vec<FlowName> { vec![] }
            pub fn oldest_at(&self) -> Option<i64> { None }
            pub(crate) fn took(&self, seconds: f64) {}
            fn inner(&self, now: i64) {}
        }
        pub struct Second(i64);
        impl Second { pub fn secs(self) -> i64 { self.0 } pub fn from_secs(secs: i64) -> Self { Self(secs) } }
        pub struct Typed { pub at: Instant<Monotonic>, pub since: Option<UnixSeconds>, pub packets: u64 }
        #[cfg(test)]
        mod tests { pub fn at(seconds: i64) {} }
    "#;
    let found = [
        "Frame.at",
        "Sum.kept",
        "KEPT",
        "Answer::Time.now_ns",
        "open: clock",
        "open: due_from",
        "Screen::tick: now",
        "Screen::oldest_at",
        "Screen::took: seconds",
    ];
    assert_eq!(bare_times(source), found);
}
