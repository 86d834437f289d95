//! Columns separated by spaces, without borders, as in `kubectl get`.

use super::text;

/// Spaces between two columns.
pub const GAP: usize = 3;

/// The width of each column.
pub fn widths<'a>(rows: impl IntoIterator<Item = &'a [String]>) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = text::width(cell).max(*width);
        }
    }
    widths
}

/// Rows as lines without trailing spaces.
pub fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let widths = widths(rows.iter().map(Vec::as_slice));
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| text::pad(cell, width + GAP));
        cells.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Lines as one text, each with a line break.
pub fn joined(lines: &[String]) -> String {
    lines
        .iter()
        .fold(String::new(), |text, line| text + line + "\n")
}
