//! An annotated TOML file, taken apart: tables with what the comment before each says. A table or
//! key that is commented out is one that may be added.

use std::sync::LazyLock;

use regex::Regex;

use crate::markdown::Page;

static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(# )?(\[\[?)([a-zA-Z_.]+)\]\]?\s*(#.*)?$").expect("a valid pattern")
});
static KEY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(# )?[a-zA-Z0-9_]+ = ").expect("a valid pattern"));
/// A comment far to the right continues the one of the line above.
static CONTINUATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^#?\s{8,}#").expect("a valid pattern"));

pub(crate) struct Annotated {
    /// The comment at the top of the file.
    pub(crate) preamble: String,
    pub(crate) sections: Vec<Section>,
}

/// A table, or the keys before the first one.
pub(crate) struct Section {
    /// Such as `service.env`; empty for the keys before the first table.
    pub(crate) path: String,
    /// Whether it is written in two brackets: the file may have several of it.
    pub(crate) is_array: bool,
    /// What the comment before the table says.
    pub(crate) intro: String,
    /// The table without that comment, never commented out as a whole.
    pub(crate) toml: String,
    is_commented_out: bool,
}

impl Section {
    /// The header, such as `[[hooks]]`.
    pub(crate) fn title(&self) -> String {
        let (path, is_array) = (&self.path, self.is_array);
        if is_array {
            format!("[[{path}]]")
        } else {
            format!("[{path}]")
        }
    }

    /// A line of the table, as it would be were the table not commented out.
    fn push(&mut self, line: &str) {
        let line = match line.strip_prefix('#') {
            Some(rest) if self.is_commented_out && !rest.is_empty() => {
                rest.strip_prefix(' ').unwrap_or(rest)
            }
            _ => line,
        };
        self.toml.push_str(line);
        self.toml.push('\n');
    }
}

impl Annotated {
    pub(crate) fn read(path: &str) -> Self {
        Self::parse(&Page::read(path).text)
    }

    fn parse(text: &str) -> Self {
        let mut annotated = Self {
            preamble: String::new(),
            sections: Vec::new(),
        };
        // The comment lines since the last key, table or the beginning.
        let mut comment: Vec<&str> = Vec::new();
        for line in text.lines() {
            if let Some(header) = HEADER.captures(line) {
                let intro = joined(&comment);
                comment.clear();
                let is_commented_out = header.get(1).is_some();
                annotated.begin(&header[3], &header[2] == "[[", is_commented_out, intro);
                annotated.last().push(line);
            } else if KEY.is_match(line) || CONTINUATION.is_match(line) {
                let section = annotated.last();
                for line in comment.drain(..) {
                    // Prose within a table stays a comment.
                    section.toml.push_str(line);
                    section.toml.push('\n');
                }
                section.push(line);
            } else if line.starts_with('#') {
                comment.push(line);
            } else if line.is_empty() {
                if annotated.sections.is_empty() && annotated.preamble.is_empty() {
                    annotated.preamble = joined(&comment);
                    comment.clear();
                }
            } else {
                // A value that continues from the line above.
                annotated.last().push(line);
            }
        }
        annotated
    }

    /// The section to which the next line belongs.
    fn last(&mut self) -> &mut Section {
        if self.sections.is_empty() {
            self.begin("", false, false, String::new());
        }
        self.sections.last_mut().expect("a section was begun")
    }

    /// Begins a table, or one more of the array that the last table belongs to.
    fn begin(&mut self, path: &str, is_array: bool, is_commented_out: bool, intro: String) {
        if let Some(last) = self.sections.last_mut().filter(|last| last.path == path) {
            last.toml.push('\n');
            last.is_commented_out = is_commented_out;
            return;
        }
        self.sections.push(Section {
            path: path.to_owned(),
            is_array,
            intro,
            toml: String::new(),
            is_commented_out,
        });
    }

    pub(crate) fn section(&self, path: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.path == path)
    }
}

/// Comment lines as one paragraph.
fn joined(comment: &[&str]) -> String {
    let lines = comment
        .iter()
        .map(|line| line.trim_start_matches('#').trim());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[test]
fn annotated_file_is_taken_apart() {
    let text = "\
# About the file.

version = \"1\"     # which

# The service.
[service]
name = \"x\"        # its name
# user = \"www\"    # the user
#                   # that runs it

# Optional.
# [[hooks]]
# on = \"before\"   # when
#                   # it runs
# [[hooks]]
# on = \"after\"
";
    let annotated = Annotated::parse(text);
    assert_eq!(annotated.preamble, "About the file.");
    let shown: Vec<_> = annotated
        .sections
        .iter()
        .map(|it| format!("{} ({}):\n{}", it.title(), it.intro, it.toml))
        .collect();
    let expected = [
        "[] ():\nversion = \"1\"     # which\n",
        "[service] (The service.):\n[service]\nname = \"x\"        # its name\n\
         # user = \"www\"    # the user\n#                   # that runs it\n",
        "[[hooks]] (Optional.):\n[[hooks]]\non = \"before\"   # when\n                  # it runs\n\
         \n[[hooks]]\non = \"after\"\n",
    ];
    assert_eq!(shown, expected);
}
