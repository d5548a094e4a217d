//! Numbers as C's `strtol` reads them: blanks and a sign may stand in front.

/// A number between two bounds, if all of the text is one.
pub fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let (number, rest) = leading(text)?;
    (rest.is_empty() && (least..=most).contains(&number)).then_some(number)
}

/// The number that a text begins with (`atoi`); 0 when there is none.
pub fn beginning(text: &str) -> i64 {
    leading(text).map_or(0, |(number, _)| number)
}

fn leading(text: &str) -> Option<(i64, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = digits.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(digits.len());
    let length = text.len() - digits.len() + end;
    // What does not fit into 64 bits is out of any bounds.
    let number = text[..length].parse().unwrap_or(i64::MAX);
    (end > 0).then(|| (number, &text[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_strtol_reads_them() {
        for (text, expected) in [
            ("5", Some(5)),
            (" +5", Some(5)),
            ("-1", None),
            ("5 ", None),
            ("5x", None),
            ("", None),
            ("-", None),
            ("10", Some(10)),
            ("11", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(number(text, 0, 10), expected, "{text}");
        }
        assert_eq!((beginning("64abc"), beginning("abc")), (64, 0));
    }
}
