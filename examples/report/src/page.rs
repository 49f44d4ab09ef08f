//! A page: text, pictures and tables in one HTML file that needs nothing else.

use anyhow::{Result, ensure};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::palette;
use crate::picture::Picture;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// What an example has to show.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Page {
    pub title: String,
    /// One or two sentences: what was found.
    pub lead: String,
    /// What made the page; see [`facts::command`](crate::facts::command).
    pub command: String,
    /// Names and values; see [`facts::usual`](crate::facts::usual).
    pub facts: Vec<(String, String)>,
    pub sections: Vec<Section>,
}

/// A part of a page. Without a title, it has no heading.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Section {
    pub title: String,
    /// Paragraphs, with an empty line between them.
    #[serde(serialize_with = "paragraphs")]
    pub text: String,
    pub figures: Vec<Figure>,
    pub tables: Vec<Table>,
}

/// A picture with what there is to say about it.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    #[serde(serialize_with = "markup")]
    pub picture: Picture,
    pub caption: String,
    /// The command or code that makes it.
    pub command: Option<String>,
}

/// Columns in which every text is a number are flush right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub caption: String,
    /// With units.
    pub columns: Vec<String>,
    /// The first text of each names the row.
    pub rows: Vec<Vec<String>>,
}

impl Page {
    /// All pictures, from the first to the last.
    pub fn pictures(&self) -> impl Iterator<Item = &Picture> {
        let figures = self.sections.iter().flat_map(|section| &section.figures);
        figures.map(|figure| &figure.picture)
    }

    /// One file, which needs no network.
    ///
    /// # Errors
    /// If a table's row has more or fewer texts than there are columns.
    pub fn html(&self) -> Result<String> {
        for table in self.sections.iter().flat_map(|section| &section.tables) {
            table.check()?;
        }
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut syntax = SyntaxConfig::builder();
        environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
        let view = View {
            page: self,
            style: STYLE,
            dark: palette::style_sheet(),
        };
        Ok(environment.render_str(TEMPLATE, Value::from(Serde(view)))?)
    }
}

/// What the template gets.
#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    page: &'a Page,
    style: &'static str,
    dark: String,
}

fn paragraphs<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let paragraphs = text.split("\n\n").map(str::trim);
    serializer.collect_seq(paragraphs.filter(|text| !text.is_empty()))
}

/// A picture escapes its own texts.
fn markup<S: Serializer>(picture: &Picture, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&picture.inline())
}

impl Table {
    fn check(&self) -> Result<()> {
        let count = self.columns.len();
        ensure!(
            self.rows.iter().all(|row| row.len() == count),
            "a row of the table “{}” does not have {count} texts",
            self.caption
        );
        Ok(())
    }

    /// Whether all texts of a column are numbers. The first column holds names.
    fn is_numeric(&self, column: usize) -> bool {
        column > 0 && self.rows.iter().all(|row| is_number(&row[column]))
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.columns.iter().enumerate();
        let columns = columns.map(|(index, name)| (name, self.is_numeric(index)));
        let mut table = serializer.serialize_struct("Table", 3)?;
        table.serialize_field("caption", &self.caption)?;
        table.serialize_field("columns", &columns.collect::<Vec<_>>())?;
        table.serialize_field("rows", &self.rows)?;
        table.end()
    }
}

/// Whether a text is a number, with or without a unit, or stands for one that is not there.
fn is_number(text: &str) -> bool {
    let text = text.trim_start_matches(['−', '-', '+', '<', '≈', '±', ' ']);
    let starts = |c: char| c.is_ascii_digit() || c == '∞';
    text.is_empty() || text == "–" || text == "NaN" || text.starts_with(starts)
}
