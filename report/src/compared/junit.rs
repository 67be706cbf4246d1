//! A comparison as JUnit XML: a test for each count, each part, and the wire.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use records::compared::{Change, Compared, Found};
use settings::words::visible;

use super::{count_words, failures_words, found_words, interval, is_judged, part_words, sentence, tail_words, wire_words};

/// What became of a test.
enum Ran {
    Passed,
    Failed(String),
    Skipped(String),
    NotAtAll(String),
}

/// Renders it.
///
/// # Errors
/// None that memory does not give: the writer's own.
pub fn render(compared: &Compared) -> std::io::Result<String> {
    let mut tests: Vec<(String, Ran)> = Vec::new();
    if compared.failed.is_some() || compared.failures.is_some() {
        let words = compared.failures.as_ref().filter(|failures| failures.any()).map_or_else(String::new, failures_words);
        let ran = match (&compared.failed, &compared.failures) {
            (Some(why), _) => Ran::Failed(if words.is_empty() { why.clone() } else { format!("{words}: {why}") }),
            (None, Some(failures)) if failures.open => Ran::Skipped(words),
            _ => Ran::Passed,
        };
        tests.push(("handshakes".into(), ran));
    }
    for count in &compared.counts {
        let ran = match count.change {
            Change::Worse => Ran::Failed(count_words(count)),
            Change::Open | Change::NotInBase if is_judged(count) => Ran::Skipped(count_words(count)),
            _ => Ran::Passed,
        };
        tests.push((format!("count: {}", count.what.words()), ran));
    }
    if let Some(wire) = &compared.on_wire {
        let ran = if wire.is_worse() { Ran::Failed(wire_words(wire)) } else { Ran::Passed };
        tests.push(("round trips on a wire".into(), ran));
    }
    for d in &compared.differences {
        let words = format!("{}, difference {} ms", found_words(d.found), interval(d));
        let ran = match d.found {
            Found::Slower => Ran::Failed(words),
            Found::SlowerAtTimes => Ran::Failed(tail_words(d)),
            Found::NotConfirmed | Found::Faster | Found::Same => Ran::Passed,
            Found::Open => Ran::Skipped(words),
        };
        tests.push((format!("time: {}", part_words(d)), ran));
    }
    if let Some(left_out) = compared.times_left_out {
        tests.push(("times".into(), Ran::Skipped(left_out.words().into())));
    }
    written(&tests, &sentence(compared))
}

/// The same where nothing could be compared: a test that could not run.
///
/// # Errors
/// As [`render`].
pub fn not_compared(why: &str) -> std::io::Result<String> {
    written(&[("comparison".into(), Ran::NotAtAll(why.to_owned()))], why)
}

fn written(tests: &[(String, Ran)], sentence: &str) -> std::io::Result<String> {
    let count = |wanted: fn(&Ran) -> bool| tests.iter().filter(|(_, ran)| wanted(ran)).count().to_string();
    let (all, failures, skipped) =
        (tests.len().to_string(), count(|ran| matches!(ran, Ran::Failed(_))), count(|ran| matches!(ran, Ran::Skipped(_))));
    let errors = count(|ran| matches!(ran, Ran::NotAtAll(_)));
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suite = writer.create_element("testsuite").with_attributes([
        ("name", "whostalled compare"),
        ("tests", all.as_str()),
        ("failures", failures.as_str()),
        ("errors", errors.as_str()),
        ("skipped", skipped.as_str()),
    ]);
    suite.write_inner_content(|writer| {
        for (name, ran) in tests {
            let case =
                writer.create_element("testcase").with_attributes([("classname", "compare"), ("name", visible(name).as_ref())]);
            match ran {
                Ran::Passed => case.write_empty()?,
                Ran::Failed(words) => case.write_inner_content(|writer| said(writer, "failure", words))?,
                Ran::NotAtAll(words) => case.write_inner_content(|writer| said(writer, "error", words))?,
                Ran::Skipped(words) => case.write_inner_content(|writer| said(writer, "skipped", words))?,
            };
        }
        writer.create_element("system-out").write_text_content(BytesText::new(&visible(sentence)))?;
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
        assert!(text.contains("tests=\"6\" failures=\"3\" errors=\"0\" skipped=\"1\"") && !text.contains('\u{1b}'), "{text}");
        let wire = render(&crate::compared::tests::on_a_wire()).expect("memory");
        assert!(wire.contains("tests=\"1\" failures=\"1\"") && wire.contains("2 → 3 round trips to Finished"), "{wire}");
        let none = not_compared("the base <fails>").expect("memory");
        assert!(none.contains("errors=\"1\"") && none.contains("<error message=\"the base &lt;fails&gt;\"/>"), "{none}");
    }
}
