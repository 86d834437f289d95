//! Every page has a place in the summary and in the index, and a readable size.

use std::path::Path;
use std::process::Command;

use crate::generated;
use crate::markdown::{Page, assert_none, docs, root};

/// Lines of a page.
const LINES: std::ops::RangeInclusive<usize> = 30..=250;

/// Characters of a line.
const LINE_CHARS_MAX: usize = 128;

/// The lists of pages.
const LISTS: [&str; 2] = ["docs/SUMMARY.md", "docs/README.md"];

/// Written by a test of real hosts.
const RELIABILITY: &str = "docs/reliability.md";

fn is_generated(path: &str) -> bool {
    path == RELIABILITY || generated::PATHS.contains(&path)
}

#[test]
fn pages_are_listed_in_the_summary_and_the_index() {
    let mut problems = Vec::new();
    for list in LISTS.map(Page::read) {
        let listed: Vec<_> = list.links().into_iter().map(|link| link.text).collect();
        for page in docs() {
            let path = page.path.trim_start_matches("docs/");
            if !LISTS.contains(&page.path.as_str()) && !listed.iter().any(|it| it == path) {
                problems.push(format!("{} does not list {path}", list.path));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn pages_and_lines_have_a_readable_size() {
    let mut problems = Vec::new();
    for page in docs() {
        if page.path == "docs/SUMMARY.md" || is_generated(&page.path) {
            continue;
        }
        let lines = page.text.lines().count();
        if !LINES.contains(&lines) {
            problems.push(format!("{}: {lines} lines, expected {LINES:?}", page.path));
        }
        for (number, line) in page.text.lines().enumerate() {
            let chars = line.chars().count();
            let is_output = line
                .trim_start()
                .starts_with(|c: char| c == '|' || c.is_ascii_digit());
            if chars > LINE_CHARS_MAX && !is_output {
                let line = number + 1;
                problems.push(format!(
                    "{}:{line}: {chars} characters, at most {LINE_CHARS_MAX} expected",
                    page.path
                ));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn readme_fits_on_a_page() {
    let lines = Page::read("README.md").text.lines().count();
    assert!(
        lines <= 160,
        "README.md has {lines} lines, at most 160 expected"
    );
}

/// Where mdBook is not installed, the summary is all that is checked.
#[test]
fn book_builds_where_mdbook_is_installed() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
    let built = Command::new("mdbook")
        .arg("build")
        .arg("--dest-dir")
        .arg(&target)
        .arg(root())
        .output();
    match built {
        Ok(output) => assert!(
            output.status.success(),
            "mdbook build failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => println!("skipped: mdbook does not run: {error}"),
    }
}
