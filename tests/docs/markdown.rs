//! As much of Markdown as the documentation uses: headings, links, fenced blocks and code spans.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\]\(([^)\s]+)\)").expect("a valid pattern"));
static CODE_SPAN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"`([^`]+)`").expect("a valid pattern"));

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page, by its path from the root of the repository.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block. Lines are counted from 1.
pub(crate) struct Block {
    /// The line of the opening fence.
    pub(crate) line: usize,
    /// What follows the opening fence, such as `toml playbook`.
    pub(crate) info: String,
    pub(crate) text: String,
}

/// A part of a page, with its line, counted from 1.
pub(crate) struct Fragment {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path))
            .unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// The directory of the page.
    pub(crate) fn dir(&self) -> PathBuf {
        let path = root().join(&self.path);
        path.parent().map(Path::to_path_buf).unwrap_or_default()
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut indent = None;
        for (number, line) in self.text.lines().enumerate() {
            let trimmed = line.trim_start();
            match (indent, trimmed.strip_prefix("```")) {
                (None, Some(info)) => {
                    indent = Some(line.len() - trimmed.len());
                    blocks.push(Block {
                        line: number + 1,
                        info: info.trim().to_owned(),
                        text: String::new(),
                    });
                }
                (Some(_), Some("")) => indent = None,
                (Some(columns), _) => {
                    let block = blocks.last_mut().expect("a block was opened");
                    block.text.push_str(line.get(columns..).unwrap_or(trimmed));
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        blocks
    }

    /// The lines outside of fenced blocks.
    pub(crate) fn prose(&self) -> Vec<Fragment> {
        let mut is_inside = false;
        let mut lines = Vec::new();
        for (number, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_inside = !is_inside;
            } else if !is_inside {
                lines.push(Fragment {
                    line: number + 1,
                    text: line.to_owned(),
                });
            }
        }
        lines
    }

    /// The targets of the links.
    pub(crate) fn links(&self) -> Vec<Fragment> {
        let mut links = Vec::new();
        for Fragment { line, text } in self.prose() {
            let text = CODE_SPAN.replace_all(&text, "");
            links.extend(LINK.captures_iter(&text).map(|found| Fragment {
                line,
                text: found[1].to_owned(),
            }));
        }
        links
    }

    /// The contents of the code spans, those that continue on a second line too.
    pub(crate) fn code_spans(&self) -> Vec<Fragment> {
        let mut spans = Vec::new();
        let mut paragraph = String::new();
        let mut first_line = 1;
        let end = Fragment {
            line: 0,
            text: String::new(),
        };
        for Fragment { line, text } in self.prose().into_iter().chain([end]) {
            if paragraph.is_empty() {
                first_line = line;
            }
            if !text.trim().is_empty() && !text.starts_with('|') {
                paragraph.push_str(text.trim());
                paragraph.push('\n');
                continue;
            }
            paragraph.push_str(&text);
            for found in CODE_SPAN.captures_iter(&paragraph) {
                let before = &paragraph[..found.get(0).map_or(0, |all| all.start())];
                spans.push(Fragment {
                    line: first_line + before.matches('\n').count(),
                    text: found[1].replace('\n', " ").replace(r"\|", "|"),
                });
            }
            paragraph.clear();
        }
        spans
    }

    /// The anchors of the headings, by GitHub's rule.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        let mut anchors = Vec::new();
        for Fragment { text, .. } in self.prose() {
            let heading = text.trim_start_matches('#');
            if heading.len() == text.len() || !heading.starts_with(' ') {
                continue;
            }
            let anchor = anchor(heading.trim());
            let count = uses.entry(anchor.clone()).or_default();
            anchors.push(match *count {
                0 => anchor,
                number => format!("{anchor}-{number}"),
            });
            *count += 1;
        }
        anchors
    }
}

/// Lowercase, without punctuation, a hyphen for each space.
pub(crate) fn anchor(heading: &str) -> String {
    let without_targets = LINK.replace_all(heading, "");
    without_targets
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// The pages below `docs/`, sorted by path.
pub(crate) fn docs() -> Vec<Page> {
    let pages = files("docs").into_iter();
    pages
        .filter(|path| {
            Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "md")
        })
        .map(|path| Page::read(&path))
        .collect()
}

/// The pages at the root of the repository, and those below `docs/`.
pub(crate) fn all() -> Vec<Page> {
    let at_root = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "STYLE.md",
        "CHANGELOG.md",
    ];
    at_root.map(Page::read).into_iter().chain(docs()).collect()
}

/// The files of a directory and of those below it, sorted, by their paths from the root of the
/// repository. A path that is a file stands for itself.
pub(crate) fn files(path: &str) -> Vec<String> {
    let full = root().join(path);
    if full.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(&full).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("a readable directory").file_name())
        .map(|name| name.into_string().expect("a name in UTF-8"))
        .collect();
    names.sort();
    names
        .iter()
        .flat_map(|name| files(&format!("{path}/{name}")))
        .collect()
}

/// Panics with all problems, if there are any.
#[track_caller]
pub(crate) fn assert_none(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn anchors_follow_the_rule_of_github() {
    for (heading, expected) in [
        ("Exit codes", "exit-codes"),
        ("`[service.env]`", "serviceenv"),
        ("is paused, is frozen", "is-paused-is-frozen"),
        (
            "The [plan](x.md), and `ship deploy`",
            "the-plan-and-ship-deploy",
        ),
    ] {
        assert_eq!(anchor(heading), expected);
    }
    let page = Page {
        path: String::new(),
        text: "# A\n## A\n```sh\n# no heading\n```\n#hash\n".to_owned(),
    };
    assert_eq!(page.anchors(), ["a", "a-1"]);
}
