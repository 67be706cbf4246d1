//! A comparison as JUnit XML: a test for each count and each part.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use records::compared::{Compared, Found};
use settings::words::visible;

use super::{count_words, found_words, interval, part_words, sentence};

/// What became of a test.
enum Ran {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Renders it.
///
/// # Errors
/// None that memory does not give: the writer's own.
pub fn render(compared: &Compared) -> std::io::Result<String> {
    let mut tests: Vec<(String, Ran)> = Vec::new();
    if let Some(why) = &compared.failed {
        tests.push(("handshakes".into(), Ran::Failed(why.clone())));
    }
    for count in &compared.counts {
        let ran = if count.is_worse() { Ran::Failed(count_words(count)) } else { Ran::Passed };
        tests.push((format!("count: {}", count.what.words()), ran));
    }
    for d in &compared.differences {
        let words = format!("{}, difference {} ms", found_words(d.found), interval(d));
        let ran = match d.found {
            Found::Slower => Ran::Failed(words),
            Found::NotConfirmed | Found::Faster | Found::Same => Ran::Passed,
            Found::Open => Ran::Skipped(words),
        };
        tests.push((format!("time: {}", part_words(d)), ran));
    }
    if let Some(left_out) = compared.times_left_out {
        tests.push(("times".into(), Ran::Skipped(left_out.words().into())));
    }
    let count = |wanted: fn(&Ran) -> bool| tests.iter().filter(|(_, ran)| wanted(ran)).count().to_string();
    let (all, failures, skipped) =
        (tests.len().to_string(), count(|ran| matches!(ran, Ran::Failed(_))), count(|ran| matches!(ran, Ran::Skipped(_))));
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suite = writer.create_element("testsuite").with_attributes([
        ("name", "whostalled compare"),
        ("tests", all.as_str()),
        ("failures", failures.as_str()),
        ("skipped", skipped.as_str()),
    ]);
    suite.write_inner_content(|writer| {
        for (name, ran) in &tests {
            let case =
                writer.create_element("testcase").with_attributes([("classname", "compare"), ("name", visible(name).as_ref())]);
            match ran {
                Ran::Passed => case.write_empty()?,
                Ran::Failed(words) => case.write_inner_content(|writer| said(writer, "failure", words))?,
                Ran::Skipped(words) => case.write_inner_content(|writer| said(writer, "skipped", words))?,
            };
        }
        let text = sentence(compared);
        writer.create_element("system-out").write_text_content(BytesText::new(&visible(&text)))?;
        Ok(())
    })?;
    String::from_utf8(writer.into_inner()).map_err(std::io::Error::other)
}

fn said(writer: &mut Writer<Vec<u8>>, element: &str, words: &str) -> std::io::Result<()> {
    writer.create_element(element).with_attribute(("message", visible(words).as_ref())).write_empty()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;

    use super::*;

    #[test]
    fn it_is_xml_and_counts_its_tests() {
        let compared = Compared { failed: Some("<&\"\u{1b}".into()), ..crate::compared::tests::regression() };
        let text = render(&compared).expect("memory");
        let mut reader = Reader::from_str(&text);
        let mut names = Vec::new();
        loop {
            match reader.read_event().expect("it is well-formed") {
                Event::Eof => break,
                Event::Start(e) | Event::Empty(e) => names.push(String::from_utf8_lossy(e.name().as_ref()).into_owned()),
                _ => {}
            }
        }
        let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
        assert_eq!([count("testcase"), count("failure"), count("skipped")], [6, 3, 1], "{text}");
        assert!(text.contains("tests=\"6\" failures=\"3\" skipped=\"1\"") && !text.contains('\u{1b}'), "{text}");
    }
}
