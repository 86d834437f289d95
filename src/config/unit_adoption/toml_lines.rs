//! Lines of a TOML file with comments.

use crate::core::printable::strip_controls;

/// The column at which comments stand.
const COMMENT_COLUMN: usize = 49;
/// The longest line of a comment.
const LINE_CHARS_MAX: usize = 118;

/// A TOML file under construction.
#[derive(Debug, Default)]
pub(super) struct TomlLines(String);

impl TomlLines {
    /// A line with a comment behind it, or before it if the line is long.
    pub(super) fn key(&mut self, key: &str, value: &str, comment: &str) {
        let line = format!("{key} = {value}");
        if comment.is_empty() {
            self.line(&line);
        } else if line.chars().count() < COMMENT_COLUMN
            && COMMENT_COLUMN + comment.chars().count() < LINE_CHARS_MAX
        {
            let comment = clean(comment);
            self.line(&format!("{line:<COMMENT_COLUMN$} # {comment}"));
        } else {
            self.comment(comment);
            self.line(&line);
        }
    }

    /// A comment of its own, on as many lines as it needs.
    pub(super) fn comment(&mut self, text: &str) {
        let text = clean(text);
        let mut line = "#".to_owned();
        for word in text.split_whitespace() {
            if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > LINE_CHARS_MAX {
                self.line(&line);
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    /// A line of a comment, not broken.
    pub(super) fn comment_line(&mut self, text: &str) {
        let text = clean(text);
        self.line(&format!("# {text}"));
    }

    /// The header of a table, after an empty line.
    pub(super) fn table(&mut self, header: &str) {
        self.line("");
        self.line(header);
    }

    pub(super) fn empty(&mut self) {
        self.line("");
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

fn clean(text: &str) -> String {
    strip_controls(text).collect()
}

/// A string of TOML.
pub(super) fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A list of strings of TOML.
pub(super) fn strings(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| string(text)).collect();
    format!("[{}]", texts.join(", "))
}
