//! Replaces text that differs between runs with placeholders, so that the rest can be compared.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// The patterns of times, durations and the like, applied in this order.
const RULES: [(&str, &str); 16] = [
    // A time is as wide as its placeholder, so that the lines below it stay aligned.
    (r"(?m)^\d\d:\d\d:\d\d  ", "[MOMENT]  "),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[WHEN]"),
    (r"page-[0-9a-f]{10}-[a-z0-9]{5}\b", "[INSTANCE]"),
    (r"\b[0-9a-f]{64}\b", "[SHA256]"),
    (r"\b[0-9a-f]{10}\b", "[DIGEST]"),
    (r"pid \d+ \((cli-|python3)[^)]*\)", "pid [PID] (COMMAND)"),
    (r"\bpid \d+", "pid [PID]"),
    (r"tester@[^\s()]+", "[WHO]"),
    (
        r"reached as [^,]+, \d+ MiB free",
        "reached as [USER], [SIZE] MiB free",
    ),
    (r"\(\d+ bytes\)", "([SIZE] bytes)"),
    // Measured durations; those of the configuration stay.
    (
        r"\b(in|after|for|began|started|paused|ended) (\d+(\.\d)?(ms|s)|\d+m(\d+s)?)\b",
        "$1 [TOOK]",
    ),
    (r"(?m)\((\d+(\.\d)?(ms|s)|\d+m(\d+s)?)\)$", "([TOOK])"),
    (r"(?m)^(duration) ( *)\S+$", "$1 $2[TOOK]"),
    (
        r"(of|heartbeat|(?:by|directory:) \[WHO]|\[WHEN],) (\d+(\.\d)?(ms|s)|\d+m(\d+s)?) ago",
        "$1 [TOOK] ago",
    ),
    // In a table: the age and the duration.
    (r"( {3}\d+ {3,})\d+[smh]( +\[NET])", "$1[AGE]$2"),
    (r"(\[WHEN] {3})\S+", "$1[TOOK]"),
];

static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let pattern = |(pattern, by)| (Regex::new(pattern).expect("our own pattern"), by);
    RULES.map(pattern).into()
});

/// Redacts what belongs to one project.
pub(crate) struct Redact {
    literals: [(String, &'static str); 2],
}

impl Redact {
    /// For a project in this directory, whose hosts have addresses with this prefix.
    pub(crate) fn new(root: &Path, net: &str) -> Self {
        Self {
            literals: [
                (root.display().to_string(), "[ROOT]"),
                (net.to_owned(), "[NET]"),
            ],
        }
    }

    /// The text with placeholders.
    pub(crate) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (literal, by) in &self.literals {
            text = text.replace(literal, by);
        }
        for (pattern, by) in &*PATTERNS {
            text = pattern.replace_all(&text, *by).into_owned();
        }
        let lines: Vec<_> = text.lines().map(narrow).collect();
        let mut text = in_order(lines).join("\n");
        text.push_str(if text.is_empty() { "" } else { "\n" });
        text
    }
}

/// Narrows the columns of a table row, because their width depends on the redacted text.
fn narrow(line: &str) -> String {
    const TABLE_COLUMNS_MIN: usize = 6;
    let cells: Vec<_> = line
        .split("   ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect();
    if cells.len() < TABLE_COLUMNS_MIN {
        line.to_owned()
    } else {
        cells.join("   ")
    }
}

/// Sorts lines that hosts print concurrently: neighbouring lines about the same event are sorted by
/// host, and sentences come before the starts that happened meanwhile.
fn in_order(mut lines: Vec<String>) -> Vec<String> {
    for run in lines.chunk_by_mut(|one, next| event(one).is_some() && event(one) == event(next)) {
        run.sort();
    }
    let is_start = |line: &str| event(line) == Some("started");
    for run in lines.chunk_by_mut(|one, next| {
        [one, next]
            .iter()
            .all(|line| is_start(line) || is_sentence(line))
    }) {
        run.sort_by_key(|line| is_start(line));
    }
    lines
}

/// The event of a line about a host or slot: `staged`.
fn event(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("[MOMENT]  node")?.split_whitespace();
    words.nth(1)
}

fn is_sentence(line: &str) -> bool {
    line.starts_with("[MOMENT]  Waiting for deployment ")
}
