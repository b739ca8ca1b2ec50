//! Lists for people: columns that line up, cut to the window. Foreign text is escaped, so it cannot drive the terminal.

use unicode_width::UnicodeWidthStr;

use super::output::{clean, cut};

/// Text for a screen of this size: long lines are cut, and if there are too many the last one says how many are not
/// shown. One row stays free for the cursor.
#[must_use]
pub(super) fn fit(text: &str, (columns, rows): (usize, usize)) -> String {
    let count = text.lines().count();
    let room = rows.saturating_sub(1);
    let shown = if count > room { room.saturating_sub(1) } else { count };
    let mut fitted: String = text.lines().take(shown).map(|line| format!("{}\n", cut(line, columns))).collect();
    if shown < count {
        fitted += &format!("{}\n", cut(&format!("... and {} more", count - shown), columns));
    }
    fitted
}

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// Rows with aligned columns. The last column is as wide as it likes, so names stand there.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells are cleaned.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| clean(cell)).collect());
    }

    /// The table as text.
    #[must_use]
    pub fn render(&self) -> String {
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let lines = || std::iter::once(&headings).chain(&self.rows);
        let width = |at: usize| lines().filter_map(|row| row.get(at)).map(|cell| cell.width()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for row in lines() {
            let cells =
                row.iter().zip(&widths).zip(&self.columns).enumerate().map(|(at, ((cell, width), (_, align)))| {
                    let last = at + 1 == widths.len();
                    let fill = " ".repeat(width.saturating_sub(cell.width()));
                    match align {
                        Align::Left if last => cell.clone(),
                        Align::Left => cell.clone() + &fill,
                        Align::Right => fill + cell,
                    }
                });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_fits_the_screen() {
        assert_eq!(fit("a\nb\nc\n", (80, 4)), "a\nb\nc\n");
        assert_eq!(fit("a\nb\nc\nd\n", (80, 4)), "a\nb\n... and 2 more\n");
        assert_eq!(fit("日本語\n", (5, 4)), "日本\n", "a wide character takes two columns");
        assert_eq!(fit("abc\n", (2, 2)), "ab\n");
        assert_eq!(fit("a\nb\n", (2, 1)), "..\n");
    }

    #[test]
    fn wide_characters_do_not_shift_the_columns() {
        let mut table = Table::new(&[("FROM", Align::Left), ("NAME", Align::Left)]);
        table.row(["日本@x".into(), "n".into()]);
        assert_eq!(table.render(), "FROM    NAME\n日本@x  n\n");
    }

    #[test]
    fn columns_line_up_and_foreign_text_is_escaped() {
        let mut table = Table::new(&[("ID", Align::Left), ("SIZE", Align::Right), ("NAME", Align::Left)]);
        table.row(["a".into(), "1".into(), "x\u{1b}[2J\u{202e}".into()]);
        table.row(["bcd".into(), "10".into(), String::new()]);
        assert_eq!(table.render(), "ID   SIZE  NAME\na       1  x\\u{1b}[2J\\u{202e}\nbcd    10\n");
    }
}
