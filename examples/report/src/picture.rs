//! A finished picture: a file of its own, or a part of a page.

use std::fmt::Write;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use resvg::usvg::fontdb::Database;
use resvg::{tiny_skia, usvg};

use crate::canvas::{Anchor, FONT_SIZE, UNIT, label};
use crate::frame::{self, WIDTH};
use crate::palette;
use crate::text;

/// The widest PNG, in pixels.
const WIDEST: u32 = 16_384;

/// Of PNGs written without another wish: four times a picture's width, for print.
pub const PNG_WIDTH: u32 = 1920;

/// Of the lines below the pictures of a sheet, in pixels.
const CODE_SIZE: f64 = 11.0;
const CODE_LINE: f64 = 15.0;
const CODE_MARGIN: f64 = 14.0;
const SHEET_GAP: f64 = 20.0;

/// Of PNGs.
const FONT: &str = "DejaVu Sans";

/// An SVG.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// What is to be seen, for those who cannot.
    description: String,
    /// Width and height in pixels.
    size: [f64; 2],
    /// Its elements.
    markup: String,
}

impl Picture {
    pub(crate) fn new(description: String, size: [f64; 2], markup: String) -> Self {
        Self {
            description,
            size,
            markup,
        }
    }

    /// Pictures of one width in rows of `columns`, with lines of text or code below each.
    pub fn sheet(title: &str, columns: usize, pictures: &[(Self, String)]) -> Self {
        let columns = columns.clamp(1, pictures.len().max(1));
        let width = pictures.iter().map(|(picture, _)| picture.size[0]);
        let width = width.fold(0.0, f64::max);
        let total = width * columns as f64;
        let mut markup = String::new();
        let mut top = frame::title(&mut markup, title, total);
        for row in pictures.chunks(columns) {
            let mut bottom = top;
            for (column, (picture, text)) in row.iter().enumerate() {
                let end = picture.place(&mut markup, [width * column as f64, top], text);
                bottom = f64::max(bottom, end);
            }
            top = bottom + SHEET_GAP;
        }
        let descriptions = pictures.iter().map(|(picture, _)| &*picture.description);
        let descriptions: Vec<_> = descriptions.collect();
        let description = format!("{title}. {}", descriptions.join("; "));
        Self::new(description, [total, top], markup)
    }

    /// Adds this picture, moved, and text below it; how far down both go, in pixels.
    fn place(&self, markup: &mut String, at: [f64; 2], text: &str) -> f64 {
        let [x, y] = at.map(|place| (place * UNIT).round());
        // Writing to a string does not fail.
        let _ = write!(
            markup,
            "<g transform=\"translate({x} {y})\">\n{}</g>\n",
            self.markup
        );
        let [left, mut bottom] = [at[0] + CODE_MARGIN, at[1] + self.size[1] + 4.0];
        let family = "ui-monospace,monospace";
        let _ = writeln!(
            markup,
            "<g font-family=\"{family}\" xml:space=\"preserve\">"
        );
        for line in text.lines() {
            bottom += CODE_LINE;
            let middle = bottom - 0.5 * CODE_LINE;
            let ink = palette::FAINT_INK.light;
            label(markup, line, [left, middle], Anchor::Start, CODE_SIZE, ink);
        }
        markup.push_str("</g>\n");
        bottom
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [f64; 2] {
        self.size
    }

    /// What is to be seen, for those who cannot.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// A file of its own, in light colours.
    pub fn svg(&self) -> String {
        let [width, height] = self.size;
        let [w, h] = self.size.map(|side| (side * UNIT).round());
        let attributes = format!("width=\"{width}\" height=\"{height}\"");
        let paper = palette::PAPER.light;
        let background = format!("<path fill=\"{paper}\" d=\"M0 0h{w}v{h}H0z\"/>\n");
        self.element(&attributes, &background)
    }

    /// A part of a page, whose style sheet sets size and colours.
    pub(crate) fn inline(&self) -> String {
        let class = match self.size[0] < WIDTH {
            true => "chart small",
            false => "chart",
        };
        self.element(&format!("class=\"{class}\""), "")
    }

    fn element(&self, attributes: &str, background: &str) -> String {
        let [w, h] = self.size.map(|side| (side * UNIT).round());
        let (description, markup) = (text::escaped(&self.description), &self.markup);
        let size = (FONT_SIZE * UNIT).round();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {attributes} viewBox=\"0 0 {w} {h}\" role=\"img\" \
             aria-label=\"{description}\" font-family=\"system-ui,sans-serif\" font-size=\"{size}\">\n\
             <title>{description}</title>\n{background}{markup}</svg>\n"
        )
    }

    /// A PNG of `width` pixels in light colours, the same on every machine: its font comes with it.
    pub fn png(&self, width: u32) -> Result<Vec<u8>> {
        ensure!(
            (1..=WIDEST).contains(&width),
            "a PNG of {width} pixels: expected 1 to {WIDEST}"
        );
        let options = usvg::Options {
            font_family: FONT.into(),
            fontdb: Arc::new(fonts()),
            ..usvg::Options::default()
        };
        let tree = usvg::Tree::from_str(&self.svg(), &options)?;
        let scale = width as f32 / tree.size().width();
        let height = (tree.size().height() * scale).round().max(1.0) as u32;
        let mut pixels = tiny_skia::Pixmap::new(width, height).context("a PNG without pixels")?;
        let scaled = tiny_skia::Transform::from_scale(scale, scale);
        resvg::render(&tree, scaled, &mut pixels.as_mut());
        Ok(pixels.encode_png()?)
    }
}

/// Those of the program alone.
fn fonts() -> Database {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans_condensed::regular().to_vec());
    fonts.load_font_data(dejavu::sans_condensed::bold().to_vec());
    fonts.load_font_data(dejavu::sans_mono::regular().to_vec());
    fonts.set_sans_serif_family(FONT);
    fonts.set_monospace_family("DejaVu Sans Mono");
    fonts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square in the colour of the first series, and a text.
    fn picture(text: &str) -> Picture {
        let mut markup = format!(
            "<path fill=\"{}\" d=\"M0 0h400v400h-400z\"/>\n",
            palette::SERIES[0].light
        );
        crate::canvas::label(
            &mut markup,
            text,
            [110.0, 20.0],
            crate::canvas::Anchor::Start,
            FONT_SIZE,
            palette::INK.light,
        );
        Picture::new(text.to_owned(), [200.0, 100.0], markup)
    }

    fn pixels(picture: &Picture) -> tiny_skia::Pixmap {
        tiny_skia::Pixmap::decode_png(&picture.png(400).unwrap()).unwrap()
    }

    #[test]
    fn a_png_has_the_width_that_was_asked_for_and_the_pictures_colours() {
        let pixels = pixels(&picture(""));
        assert_eq!((pixels.width(), pixels.height()), (400, 200));
        let at = |x, y| {
            let colour = pixels.pixel(x, y).unwrap();
            format!(
                "#{:02X}{:02X}{:02X}",
                colour.red(),
                colour.green(),
                colour.blue()
            )
        };
        assert_eq!(at(100, 100), palette::SERIES[0].light);
        assert_eq!(at(300, 150), palette::PAPER.light);
        for width in [0, WIDEST + 1] {
            assert!(picture("").png(width).is_err());
        }
    }

    #[test]
    fn a_png_shows_every_sign_of_the_field() {
        let blank = pixels(&picture(" "));
        // What no font has, is a box or nothing.
        let missing = pixels(&picture("\u{10fffd}"));
        for sign in "Aαβγεθλμπσ×−²³·→–…≤≥√∇‖⌊⌋∈½±°∞⁻⁴Σ".chars()
        {
            let shown = pixels(&picture(&sign.to_string()));
            assert!(shown != blank && shown != missing, "{sign}");
        }
    }

    #[test]
    fn a_title_is_bold() {
        let mut light = picture("");
        let mut bold = light.clone();
        let text = |weight: &str| format!("<text x=\"20\" y=\"200\"{weight}>Adam</text>");
        light.markup.push_str(&text(""));
        bold.markup.push_str(&text(" font-weight=\"600\""));
        assert!(pixels(&light) != pixels(&bold));
    }

    #[test]
    fn a_file_is_well_formed_and_says_what_it_shows() {
        let svg = picture("1 < 2 & \"so on\"").svg();
        let document = usvg::roxmltree::Document::parse(&svg).unwrap();
        let root = document.root_element();
        assert_eq!(root.attribute("width"), Some("200"));
        assert_eq!(root.attribute("viewBox"), Some("0 0 800 400"));
        assert_eq!(root.attribute("aria-label"), Some("1 < 2 & \"so on\""));
        let title = root.children().find(|child| child.has_tag_name("title"));
        assert_eq!(title.unwrap().text(), root.attribute("aria-label"));
    }
}
