//! Colours, each for a light and for a dark page.
//!
//! A picture is drawn in the light ones; a page's style sheet replaces each by its dark partner.
//! No two colours have the same light value, so that it is a name.

/// A colour as SVG writes it, and its partner on dark pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    pub light: &'static str,
    pub dark: &'static str,
}

const fn colour(light: &'static str, dark: &'static str) -> Colour {
    Colour { light, dark }
}

/// The page.
pub const PAPER: Colour = colour("#FFFFFF", "#12161B");
/// Text, axes, and what is marked for all series.
pub const INK: Colour = colour("#1B1F24", "#E8EBEE");
/// Labels of ticks.
pub const FAINT_INK: Colour = colour("#4A525C", "#B3BBC4");
/// The grid.
pub const RULED: Colour = colour("#E1E4E8", "#2C333B");
/// Lines that others are seen against.
pub const BACKGROUND: Colour = colour("#C6CBD1", "#454E58");
/// What could not be measured.
pub const MISSING: Colour = colour("#F3F3F3", "#1D2228");

/// Of series: Okabe and Ito's colours, which people with any colour vision tell apart, darker
/// where they would be faint on white, and brighter on black. The yellow is an olive on white.
pub const SERIES: [Colour; 8] = [
    colour("#0072B2", "#4AA8EE"),
    colour("#D55E00", "#FF8B45"),
    colour("#00805E", "#2FC79C"),
    colour("#B5508F", "#EE9CCB"),
    colour("#B87F00", "#F0B429"),
    colour("#3C9FDD", "#9ADAFF"),
    colour("#6A6A6A", "#BDBDBD"),
    colour("#7A7400", "#F0E442"),
];

/// From the lowest level to the highest, pale enough for any series' colour on top.
pub const LEVELS: [Colour; 10] = [
    colour("#FDFEFE", "#151A20"),
    colour("#F5F7FA", "#1A2028"),
    colour("#EDF1F6", "#1F2730"),
    colour("#E5EBF2", "#242D38"),
    colour("#DDE4ED", "#293440"),
    colour("#D4DDE8", "#2E3A48"),
    colour("#CBD6E3", "#334150"),
    colour("#C2CEDE", "#384858"),
    colour("#B9C7D8", "#3D4E60"),
    colour("#B0BFD3", "#425569"),
];
/// Between two levels.
pub const CONTOUR: Colour = colour("#8FA2BA", "#5A7088");

/// From the worst to the best, for cells with a number in them.
pub const HEAT: [Colour; 7] = [
    colour("#F4F8FC", "#17202B"),
    colour("#D6E6F4", "#1B3148"),
    colour("#B0D0E9", "#1F4669"),
    colour("#7FB4DB", "#245D8C"),
    colour("#4A93C6", "#3F84BD"),
    colour("#2170AC", "#6DB1E8"),
    colour("#0B4C86", "#A9D6FA"),
];
/// From this level on, text is in the colour of the page.
pub const HEAT_TURNS: usize = 4;

/// All of them.
pub fn all() -> impl Iterator<Item = Colour> {
    let single = [PAPER, INK, FAINT_INK, RULED, BACKGROUND, MISSING, CONTOUR];
    single.into_iter().chain(SERIES).chain(LEVELS).chain(HEAT)
}

/// The rules of a style sheet that give every colour its dark partner where `--dark` is on.
pub fn style_sheet() -> String {
    let rules = all().map(|Colour { light, dark }| {
        format!(
            ".chart [fill=\"{light}\"]{{fill:{dark}}}.chart [stroke=\"{light}\"]{{stroke:{dark}}}\n"
        )
    });
    rules.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, as WCAG 2 defines it.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
            let value = f64::from(value) / 255.0;
            match value <= 0.03928 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let [a, b] = [luminance(a), luminance(b)];
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn a_light_colour_has_one_dark_partner() {
        let mut lights: Vec<_> = all().map(|colour| colour.light).collect();
        lights.sort_unstable();
        let count = lights.len();
        lights.dedup();
        assert_eq!(lights.len(), count);
    }

    #[test]
    fn series_are_seen_on_the_page_and_text_is_read_on_it() {
        for (paper, of) in [
            (
                PAPER.light,
                (|c: Colour| c.light) as fn(Colour) -> &'static str,
            ),
            (PAPER.dark, |c: Colour| c.dark),
        ] {
            for series in SERIES {
                assert!(contrast(of(series), paper) >= 2.9, "{series:?}");
            }
            assert!(contrast(of(INK), paper) >= 12.0);
            assert!(contrast(of(FAINT_INK), paper) >= 7.0);
        }
    }

    #[test]
    fn the_number_in_a_cell_is_read_on_every_shade() {
        for (level, shade) in HEAT.into_iter().enumerate() {
            let text = if level < HEAT_TURNS { INK } else { PAPER };
            for (text, shade) in [(text.light, shade.light), (text.dark, shade.dark)] {
                assert!(contrast(text, shade) >= 3.0, "{text} on {shade}");
            }
        }
    }
}
