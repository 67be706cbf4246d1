//! Values of filters as EC2 reads them: `*` is any characters, `?` one, `\` takes the next as it is.

/// Whether a tag's value is what a filter's value means.
pub(crate) fn means(pattern: &str, value: &str) -> bool {
    let (pattern, value): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
    fits(&pattern, &value)
}

fn fits(pattern: &[char], value: &[char]) -> bool {
    match pattern {
        [] => value.is_empty(),
        ['*', rest @ ..] => (0..=value.len()).any(|n| fits(rest, &value[n..])),
        ['?', rest @ ..] => !value.is_empty() && fits(rest, &value[1..]),
        ['\\', one, rest @ ..] | [one, rest @ ..] => value.first() == Some(one) && fits(rest, &value[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::means;

    #[test]
    fn wildcards_and_what_takes_them_literally() {
        for (pattern, value, does) in [
            ("run-1", "run-1", true),
            ("run-1", "run-12", false),
            ("*", "", true),
            ("run-*", "run-12", true),
            ("r?n", "run", true),
            ("r?n", "rn", false),
            (r"run-\*", "run-*", true),
            (r"run-\*", "run-1", false),
            (r"a\\b", r"a\b", true),
            (r"a\?", "ab", false),
        ] {
            assert_eq!(means(pattern, value), does, "{pattern} {value}");
        }
    }
}
