//! No file uses the phrases of `banned_phrases.txt`.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use crate::markdown::files;

/// Files and directories that are checked.
const CHECKED: [&str; 12] = [
    "src",
    "tests",
    "docs",
    "benches",
    "playbooks",
    "inventory",
    "Vagrantfile",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Cargo.toml",
];

/// The list itself, and this file, which tests it.
const EXEMPT: [&str; 3] = [
    "tests/docs/banned_phrases.txt",
    "tests/docs/prose.rs",
    // Its digest names the image, which takes minutes to build.
    "tests/support/host-image.sh",
];

/// Its tables name what was removed.
const CHANGELOG: &str = "CHANGELOG.md";

/// Where a phrase may continue on the next line: after the mark of a comment.
const SPACE: &str = r"(?:[ _]|[ \t]*\n[ \t]*(?:///?|//!|#|\*)?[ \t]*)";

struct Phrases {
    banned: Vec<Phrase>,
    allowed: Vec<Regex>,
}

struct Phrase {
    pattern: Regex,
    replacement: String,
}

impl Phrases {
    fn parse(list: &str) -> Self {
        let lines = list
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (allowed, banned): (Vec<_>, Vec<_>) =
            lines.partition(|line| line.starts_with("allow "));
        let banned = banned.into_iter().map(|line| {
            let (phrase, replacement) = line
                .split_once("  ")
                .unwrap_or_else(|| panic!("`{line}` has no replacement"));
            Phrase {
                pattern: pattern(phrase),
                replacement: replacement.trim().to_owned(),
            }
        });
        let allowed = allowed
            .into_iter()
            .map(|line| pattern(&line["allow ".len()..]));
        Self {
            banned: banned.collect(),
            allowed: allowed.collect(),
        }
    }

    /// The lines with a banned phrase, each with the phrase and its replacement.
    fn found_in(&self, text: &str) -> Vec<(usize, String)> {
        let mut text = text.to_owned();
        for allowed in &self.allowed {
            text = allowed
                .replace_all(&text, |found: &regex::Captures| blank(&found[0]))
                .into();
        }
        let mut found = Vec::new();
        for Phrase {
            pattern,
            replacement,
        } in &self.banned
        {
            for phrase in pattern.captures_iter(&text).filter_map(|all| all.get(1)) {
                let line = 1 + text[..phrase.start()].matches('\n').count();
                let words: Vec<_> = phrase.as_str().split_whitespace().collect();
                found.push((
                    line,
                    format!("`{}` (write: {replacement})", words.join(" ")),
                ));
            }
        }
        found.sort();
        found
    }
}

/// A pattern for a phrase that neither begins nor ends within a word.
fn pattern(phrase: &str) -> Regex {
    let is_quoted = phrase.starts_with(['"', '`']);
    let (before, after) = if is_quoted {
        ("", "")
    } else {
        ("(?:^|[^a-z])", "(?:[^a-z]|$)")
    };
    let phrase = phrase.replace(' ', SPACE);
    RegexBuilder::new(&format!("{before}({phrase}){after}"))
        .case_insensitive(true)
        .multi_line(true)
        .build()
        .unwrap_or_else(|error| panic!("{phrase}: {error}"))
}

/// Spaces, in as many lines.
fn blank(text: &str) -> String {
    text.chars()
        .map(|letter| if letter == '\n' { letter } else { ' ' })
        .collect()
}

/// The text with empty lines in place of its tables.
fn without_tables(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.trim_start().starts_with('|') {
            ""
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_file_uses_a_banned_phrase() {
    let phrases = Phrases::parse(include_str!("banned_phrases.txt"));
    let mut found: Vec<String> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for path in CHECKED.iter().flat_map(|path| files(path)) {
        if EXEMPT.contains(&path.as_str()) {
            continue;
        }
        // A picture or an archive has no words.
        let Ok(text) = std::fs::read_to_string(crate::markdown::root().join(&path)) else {
            continue;
        };
        let text = if path == CHANGELOG {
            without_tables(&text)
        } else {
            text
        };
        let in_file = phrases.found_in(&text);
        let folder: Vec<_> = path.split('/').take(2).collect();
        if !in_file.is_empty() {
            *counts.entry(folder.join("/")).or_default() += in_file.len();
        }
        found.extend(
            in_file
                .into_iter()
                .map(|(line, phrase)| format!("{path}:{line}: {phrase}")),
        );
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(folder, count)| format!("{count:5}  {folder}"))
        .collect();
    assert!(
        found.is_empty(),
        "{}\n\n{} banned phrases:\n{}",
        found.join("\n"),
        found.len(),
        counts.join("\n")
    );
}

#[test]
fn banned_phrases_are_found() {
    let phrases = Phrases::parse(include_str!("banned_phrases.txt"));
    let found = |text: &str| {
        let found = phrases.found_in(text).into_iter();
        found
            .map(|(line, phrase)| format!("{line} {phrase}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found("The rollout goes on."),
        ["1 `goes on` (write: continues, resumes)"]
    );
    assert_eq!(
        found("x\nfn goes_back() {}"),
        ["2 `goes_back` (write: rolls back)"]
    );
    assert_eq!(
        found("// it goes\n    // back"),
        ["1 `goes // back` (write: rolls back)"]
    );
    assert_eq!(found("There is no lock, which is no longer held."), [""; 0]);
    assert_eq!(
        found("another ship process; Untold; #[serde(alias = \"chore\")]"),
        [""; 0]
    );
    assert_eq!(found("this is no number").len(), 1);
}
