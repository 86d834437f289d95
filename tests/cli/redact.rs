//! What differs from run to run gets a placeholder, so that the rest can be compared word for word.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// How a moment, a duration and the like are recognised. In this order.
const RULES: [(&str, &str); 16] = [
    // A moment is as wide as its placeholder, so that the lines below it stay where they are.
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
    // Durations where they are measured; those that a user wrote stay.
    (
        r"\b(in|after|for|began|ended) (\d+(\.\d)?(ms|s)|\d+m(\d+s)?)\b",
        "$1 [TOOK]",
    ),
    (r"(?m)\((\d+(\.\d)?(ms|s)|\d+m(\d+s)?)\)$", "([TOOK])"),
    (r"(?m)^(duration) ( *)\S+$", "$1 $2[TOOK]"),
    (
        r"(of|(?:by|last:) \[WHO]|\[WHEN],) (\d+(\.\d)?(ms|s)|\d+m(\d+s)?) ago",
        "$1 [TOOK] ago",
    ),
    // In a table: the age, and how long it took.
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
    /// For a project in this directory, whose hosts have addresses that begin so.
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

/// Rows of a table with their columns as close as they can be: how wide a column is depends on what
/// is redacted.
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

/// Hosts work at the same time. Neighbouring lines that say the same of several hosts are told in
/// the hosts' order; and an order counts at once but is told when it was carried out, so sentences
/// come before what was started meanwhile.
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

/// What a line says of a host or slot: `staged`.
fn event(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("[MOMENT]  node")?.split_whitespace();
    words.nth(1)
}

fn is_sentence(line: &str) -> bool {
    line.starts_with("[MOMENT]  Waiting for deployment ")
}
