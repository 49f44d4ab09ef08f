//! How far a picture is from another one by the numbers in it.

/// The largest difference between a number in `a` and its counterpart in `b`, where all else is the
/// same text; None where it is not.
pub fn numbers_apart(a: &str, b: &str) -> Option<f64> {
    let (a, b) = (parts(a), parts(b));
    (a.len() == b.len()).then_some(())?;
    a.iter().zip(&b).try_fold(0.0, |largest, pair| match pair {
        (Part::Text(a), Part::Text(b)) => (a == b).then_some(largest),
        (Part::Number(a), Part::Number(b)) => Some(f64::max(largest, (a - b).abs())),
        _ => None,
    })
}

enum Part<'t> {
    Text(&'t str),
    Number(f64),
}

/// Numbers without signs and exponents: these are text.
fn parts(text: &str) -> Vec<Part<'_>> {
    let in_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_number = in_number(first);
        let end = rest.find(|c| in_number(c) != is_number);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        parts.push(match part.parse() {
            Ok(number) => Part::Number(number),
            Err(_) => Part::Text(part),
        });
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_of_all_numbers_counts() {
        let apart = numbers_apart("<p d='M1.5,20 L3,4'/>", "<p d='M1.25,20 L3,8'/>");
        assert_eq!(apart, Some(4.0));
        assert_eq!(numbers_apart("a1", "a1"), Some(0.0));
    }

    #[test]
    fn other_words_signs_and_other_counts_of_numbers_are_no_match() {
        for (a, b) in [
            ("M1", "L1"),
            ("1,2", "1,2,3"),
            ("-1", "1"),
            ("1", "one"),
            ("", "1"),
        ] {
            assert_eq!(numbers_apart(a, b), None, "{a} {b}");
        }
    }
}
