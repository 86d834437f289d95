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

/// A string of TOML on one line. The text has no control characters other than tabs.
pub(super) fn string(text: &str) -> String {
    let has_marks = text.contains(['"', '\\']);
    if has_marks && !text.contains('\'') {
        return format!("'{text}'");
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// A list of strings of TOML.
pub(super) fn strings(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| string(text)).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_as_they_were() {
        for text in [
            "",
            "plain",
            "a \"b\"",
            "it's",
            "it's \"so\" \\ and",
            "a\tb",
            "ä",
        ] {
            let read: toml::Table = toml::from_str(&format!("x = {}", string(text)))
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read["x"].as_str(), Some(text));
        }
    }

    #[test]
    fn comments_have_no_line_breaks_of_their_own() {
        let mut lines = TomlLines::default();
        lines.comment("a\nb = 1");
        lines.key("key", "1", "x\ry");
        let text = lines.into_text();
        assert!(text.lines().all(|line| line.contains('#')), "{text}");
    }
}
