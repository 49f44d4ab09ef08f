//! Numbers as people read them: no more digits than say something.

/// `value` with at most `digits` significant digits, without trailing zeros: `0.25`, `1200`,
/// `3.1e-5`, `−2`. From 1e6 on and below 1e-3 with a power of ten.
pub fn significant(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "−∞" }.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let digits = digits.max(1);
    // Rounds first: 0.99999 with three digits is 1.
    let scientific = format!("{:.*e}", digits - 1, value.abs());
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    let text = match power {
        -3..=5 => {
            let decimals = (digits as i32 - 1 - power).max(0) as usize;
            let rounded: f64 = scientific.parse().unwrap_or(value.abs());
            trimmed(&format!("{rounded:.decimals$}")).to_owned()
        }
        _ => format!("{}e{power}", trimmed(mantissa)),
    };
    if value < 0.0 {
        format!("−{text}")
    } else {
        text
    }
}

/// Without zeros at the end of the fraction.
fn trimmed(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// Numbers that stand together, with as many decimals each as the largest needs for `digits`
/// significant ones: `97.30`, `8.12`. Where they are of very different size, each on its own.
pub fn alike(values: &[f64], digits: usize) -> Vec<String> {
    let sizes = values.iter().map(|value| value.abs());
    let sizes = sizes.filter(|size| size.is_finite() && *size > 0.0);
    let ends = sizes.fold(None, |ends: Option<(f64, f64)>, size| {
        let (low, high) = ends.unwrap_or((size, size));
        Some((low.min(size), high.max(size)))
    });
    match ends {
        Some((low, high)) if low > 1e-2 * high && low >= 1e-3 && high < 1e6 => {
            let power = high.log10().floor() as i32;
            let decimals = (digits as i32 - 1 - power).max(0) as usize;
            let text = |value: &f64| match value.is_finite() {
                true => format!("{value:.decimals$}").replace('-', "−"),
                false => significant(*value, digits),
            };
            values.iter().map(text).collect()
        }
        _ => values
            .iter()
            .map(|value| significant(*value, digits))
            .collect(),
    }
}

/// A part of one as a percentage with `decimals` decimals: `98.33 %`.
pub fn percent(part: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * part)
}

/// A time in seconds in the unit that suits it: `1.2 ms`, `3.4 s`, `2 min 05 s`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{} µs", significant(s * 1e6, 3)),
        s if s < 1.0 => format!("{} ms", significant(s * 1e3, 3)),
        s if s < 100.0 => format!("{} s", significant(s, 3)),
        s => format!(
            "{:.0} min {:02.0} s",
            (s / 60.0).floor(),
            (s % 60.0).floor()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_were_asked_for_and_no_zeros_behind_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1.000_000_000_1, "1"),
            (0.1 + 0.2, "0.3"),
            (-2.5, "−2.5"),
            (1234.5, "1230"),
            (999.9, "1000"),
            (0.999_99, "1"),
            (0.001, "0.001"),
            (0.000_314_15, "3.14e-4"),
            (1e-4, "1e-4"),
            (123_456.0, "123000"),
            (1e6, "1e6"),
            (-2.5e-7, "−2.5e-7"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "−∞"),
        ] {
            assert_eq!(significant(value, 3), text);
        }
    }

    #[test]
    fn numbers_that_stand_together_have_equal_decimals() {
        assert_eq!(alike(&[97.3, 8.125, -1.0], 4), ["97.30", "8.12", "−1.00"]);
        assert_eq!(alike(&[0.5, 12345.0], 3), ["0.5", "12300"]);
        assert_eq!(alike(&[0.0, 2.0, f64::NAN], 2), ["0.0", "2.0", "NaN"]);
        assert!(alike(&[], 2).is_empty());
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        for (time, text) in [
            (2.5e-5, "25 µs"),
            (0.0123, "12.3 ms"),
            (3.456, "3.46 s"),
            (125.7, "2 min 05 s"),
        ] {
            assert_eq!(seconds(time), text);
        }
        assert_eq!(percent(0.98333, 2), "98.33 %");
    }
}
