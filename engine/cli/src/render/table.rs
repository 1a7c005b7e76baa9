//! Columns of text, aligned by characters. The last column is never padded, so lines have no trailing blanks.

use super::style::Style;

/// Which side of a column is even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// One cell: its text, and its text as painted.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    painted: Option<String>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, painted: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// A cell with colour; its width is that of the plain text.
    pub(crate) fn painted(text: &str, paint: impl FnOnce(&str) -> String) -> Self {
        Self { text: text.to_owned(), painted: Some(paint(text)) }
    }
}

/// A table with a heading.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line after `indent` blanks. Columns in which every cell is empty are left out.
    pub(crate) fn render(&self, style: Style, indent: usize) -> String {
        let cell_width = |row: &Vec<Cell>, i: usize| row.get(i).map_or(0, |cell| width(&cell.text));
        let used: Vec<usize> =
            (0..self.columns.len()).filter(|&i| self.rows.iter().any(|row| cell_width(row, i) > 0)).collect();
        let widths: Vec<usize> = used
            .iter()
            .map(|&i| self.rows.iter().map(|row| cell_width(row, i)).max().unwrap_or(0).max(width(self.columns[i].0)))
            .collect();
        let mut text = String::new();
        let heading: Vec<Cell> =
            self.columns.iter().map(|(name, _)| Cell::painted(name, |name| style.dim(name))).collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = " ".repeat(indent);
            let mut pending = 0;
            for (position, &i) in used.iter().enumerate() {
                let empty = Cell::from("");
                let cell = row.get(i).unwrap_or(&empty);
                let blanks = widths[position] - width(&cell.text);
                let (before, after) = if self.columns[i].1 == Align::Right { (blanks, 0) } else { (0, blanks) };
                pending += before;
                if !cell.text.is_empty() {
                    line += &" ".repeat(pending);
                    line += cell.painted.as_deref().unwrap_or(&cell.text);
                    pending = 0;
                } else {
                    pending += width(&cell.text);
                }
                pending += after + 2;
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table =
            Table::new(&[("name", Align::Left), ("none", Align::Left), ("size", Align::Right), ("note", Align::Left)]);
        table.row(vec!["a".into(), "".into(), "12".into(), "x".into()]);
        table.row(vec!["longer".into(), "".into(), "1234567".into()]);
        table.row(vec!["µ".into(), "".into(), "".into(), "y".into()]);
        let expected = "  name       size  note\n  a            12  x\n  longer  1234567\n  µ                y\n";
        assert_eq!(table.render(Style::PLAIN, 2), expected);
    }

    #[test]
    fn colour_does_not_move_columns() {
        let mut table = Table::new(&[("a", Align::Left), ("b", Align::Left)]);
        table.row(vec![Cell::painted("x", |t| format!("<{t}>")), "y".into()]);
        table.row(vec!["xx".into(), "y".into()]);
        assert_eq!(table.render(Style::PLAIN, 0), "a   b\n<x>  y\nxx  y\n".replace("<x>  y", "<x>   y"));
    }
}
