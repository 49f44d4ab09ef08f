//! Tables on a terminal.

use crate::page::Table;

impl Table {
    /// The heading and the rows, with columns in line: the first flush left, the others flush right.
    pub fn lines(&self) -> Vec<String> {
        let all = || std::iter::once(&self.columns).chain(&self.rows);
        let width = |column: usize| {
            let texts = all().filter_map(|row| row.get(column));
            texts.map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (text, &width))| match column {
                0 => format!("{text:<width$}"),
                _ => format!("{text:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            line.trim_end().to_owned()
        };
        all().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_line() {
        let row = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
        let table = Table {
            caption: String::new(),
            columns: row(["name", "loss", "µs"]),
            rows: vec![row(["adam", "0.25", "12"]), row(["a long one", "1", "–"])],
        };
        let expected = [
            "name        loss  µs",
            "adam        0.25  12",
            "a long one     1   –",
        ];
        assert_eq!(table.lines(), expected);
    }
}
