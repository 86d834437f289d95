//! The pages that are generated, compared with what is generated now.

use std::fs;

use crate::markdown::{assert_none, root};
use crate::{cli_reference, configuration_reference, exit_codes};

/// The command that writes the pages.
const WRITE: &str = "SHIP_WRITE_DOCS=1 cargo test --test docs";

/// The pages, by their paths from the root of the repository.
pub(crate) const PATHS: [&str; 4] = [
    "docs/reference/cli.md",
    "docs/reference/playbook.md",
    "docs/reference/inventory.md",
    "docs/reference/exit-codes.md",
];

#[test]
fn references_are_generated_from_the_present_code() {
    let pages = [
        cli_reference::page(),
        configuration_reference::playbook(),
        configuration_reference::inventory(),
        exit_codes::page(),
    ];
    let mut problems = Vec::new();
    for (path, page) in PATHS.iter().zip(pages) {
        let file = root().join(path);
        if std::env::var_os("SHIP_WRITE_DOCS").is_some() {
            fs::write(&file, page).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
            continue;
        }
        let present = fs::read_to_string(&file).unwrap_or_default();
        problems.extend(difference(&present, &page).map(|line| format!("{path}:{line}")));
    }
    if !problems.is_empty() {
        problems.push(format!("hint: write the pages with `{WRITE}`"));
    }
    assert_none(&problems);
}

/// The first line in which two texts differ.
fn difference(present: &str, expected: &str) -> Option<String> {
    if present == expected {
        return None;
    }
    let (present, expected): (Vec<_>, Vec<_>) =
        (present.lines().collect(), expected.lines().collect());
    let line = (0..present.len().max(expected.len()))
        .find(|line| present.get(*line) != expected.get(*line))
        .unwrap_or_default();
    let show = |lines: &[&str]| lines.get(line).map_or("nothing", |line| line).to_owned();
    Some(format!(
        "{}: expected `{}`, found `{}`",
        line + 1,
        show(&expected),
        show(&present)
    ))
}

/// A text for a cell of a table, or for a paragraph.
pub(crate) fn escaped(text: &str) -> String {
    let mut is_code = false;
    let mut escaped = String::new();
    for letter in text.trim().chars() {
        is_code ^= letter == '`';
        match letter {
            '\n' => escaped.push(' '),
            '|' => escaped.push_str(r"\|"),
            '<' if !is_code => escaped.push_str(r"\<"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
