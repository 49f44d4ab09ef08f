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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, LineChart, Series};

    fn picture(text: &str) -> Picture {
        let chart = LineChart {
            title: text.into(),
            x: Axis::linear(text),
            y: Axis::linear(text),
            series: vec![
                Series::curve(text, vec![[0.0, 1.0], [1.0, 2.0]]),
                Series::curve("other", vec![[0.0, 2.0], [1.0, 1.0]]),
            ],
        };
        chart.picture().unwrap()
    }

    /// A page with `text` wherever there may be one.
    fn page(text: &str) -> Page {
        let own = || text.to_owned();
        Page {
            title: own(),
            lead: own(),
            command: own(),
            facts: vec![(own(), own())],
            sections: vec![Section {
                title: own(),
                text: format!("{text}\n\n{text}"),
                figures: vec![Figure {
                    picture: picture(text),
                    caption: own(),
                    command: Some(own()),
                }],
                tables: vec![Table {
                    caption: own(),
                    columns: vec![own(), "lr".into()],
                    rows: vec![vec![own(), "0.1".into()]],
                }],
            }],
        }
    }

    #[test]
    fn no_text_is_markup() {
        let evil = "<script>alert('1')</script>&\"";
        let html = page(evil).html().unwrap();
        assert!(!html.contains("<script") && !html.contains("&\""), "{html}");
        // Once each: title and heading, lead, section, two paragraphs, two commands, caption,
        // table (heading, label, column, row), fact (name, value), and in the picture four texts
        // and two descriptions, which hold it twice and more.
        assert!(html.matches("&lt;script").count() >= 21);
    }

    #[test]
    fn a_page_needs_nothing_else_and_says_what_it_is() {
        let html = page("adam").html().unwrap();
        for needless in ["<script", "<link", "<img", " src=", "url(", "@import"] {
            assert!(!html.contains(needless), "{needless}");
        }
        let addresses = html.matches("http").count();
        let names = html.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
        assert_eq!(addresses, names);
        for part in [
            "<html lang=\"en\">",
            "name=\"viewport\"",
            "<title>adam</title>",
            "<caption>adam</caption>",
            "<th scope=\"col\" class=\"number\">lr</th>",
            "<th scope=\"row\">adam</th>",
            "<td class=\"number\">0.1</td>",
            "role=\"img\"",
            "(prefers-color-scheme: dark)",
            "@media print",
        ] {
            assert!(html.contains(part), "{part}");
        }
    }

    #[test]
    fn every_colour_of_a_picture_has_a_dark_partner() {
        let html = page("adam").html().unwrap();
        let (style, body) = html.split_once("</style>").unwrap();
        let attributes = body.split(['<', '>', ' ', '/']);
        let is_colour =
            |text: &&str| text.starts_with("fill=\"#") || text.starts_with("stroke=\"#");
        let colours: Vec<_> = attributes.filter(is_colour).collect();
        assert!(colours.len() > 10);
        for colour in colours {
            assert!(style.contains(&format!(".chart [{colour}]")), "{colour}");
        }
    }

    #[test]
    fn commands_keep_their_lines_and_spaces() {
        let code = "Schedule::Step {\n    every: 3,\n}";
        let html = page(code).html().unwrap();
        let (_, rest) = html.split_once("<pre><code>").unwrap();
        let (shown, _) = rest.split_once("</code></pre>").unwrap();
        let shown = shown.replace("<span>", "").replace("</span>", "");
        assert_eq!(shown, code);
    }

    #[test]
    fn a_row_of_another_length_is_an_error() {
        let mut page = page("adam");
        page.sections[0].tables[0].rows.push(vec!["sgd".into()]);
        assert!(page.html().unwrap_err().to_string().contains("2 texts"));
    }

    #[test]
    fn numbers_are_told_from_words() {
        for text in ["0.1", "−3", "98.3 %", "1e-4", "–", "", "≈ 2", "NaN"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["adam", "– none", "x1"] {
            assert!(!is_number(text), "{text}");
        }
    }
}
