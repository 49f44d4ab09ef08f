//! A finished picture: a file of its own, or a part of a page.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use resvg::usvg::fontdb::Database;
use resvg::{tiny_skia, usvg};

use crate::canvas::{FONT_SIZE, UNIT};
use crate::palette;
use crate::text;

/// The widest PNG, in pixels.
const WIDEST: u32 = 16_384;

/// Of PNGs written without another wish: four times a picture's width, for print.
pub const PNG_WIDTH: u32 = 1920;

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
        self.element("class=\"chart\"", "")
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
            font_family: "Ubuntu".into(),
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

/// Text, and the signs that its font lacks.
fn fonts() -> Database {
    let mut fonts = Database::new();
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
    fonts.set_sans_serif_family("Ubuntu");
    fonts
}
