//! The paths and types in the code of a source file.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Comments, strings and character literals, which are not code.
static TEXTS: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r##"(?sx)
        //[^\n]* | /\*.*?\*/
        | \bc?b?r"[^"]*" | \bc?b?r\#".*?"\# | \bc?b?r\#\#".*?"\#\#
        | "(?:\\.|[^"\\])*"
        | '(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'\n])'
        "##,
    )
});

static USES: LazyLock<Regex> = LazyLock::new(|| regex(r"\buse\s+([^;]+);"));

static PATHS: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:\w+::)+\w+"));

static TYPES: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?m)^(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|type) (\w+)"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid")
}

/// The code of a file, with as many lines as the file has.
pub(crate) struct Source(String);

/// A path in the code, such as `crate::core::ids::HostId`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        Self(TEXTS.replace_all(text, blank).into_owned())
    }

    /// The code without items that are compiled only for tests.
    pub(crate) fn without_tests(&self) -> Self {
        const TEST: &str = "#[cfg(test)]";
        let mut code = self.0.clone();
        while let Some(start) = code.find(TEST) {
            let end = start + TEST.len() + item_length(&code[start + TEST.len()..]);
            let blanks = blank_text(&code[start..end]);
            code.replace_range(start..end, &blanks);
        }
        Self(code)
    }

    /// Every path that is imported or has at least two segments.
    pub(crate) fn paths(&self) -> Vec<NamedPath> {
        let mut paths = Vec::new();
        for found in USES.captures_iter(&self.0) {
            let line = self.line_of(&found);
            for path in expand(&found[1]) {
                paths.push(named(line, &path));
            }
        }
        let rest = USES.replace_all(&self.0, blank);
        for found in PATHS.captures_iter(&rest) {
            paths.push(named(self.line_of(&found), &found[0]));
        }
        paths
    }

    /// Every type and trait that is declared outside functions and `impl` blocks, with its line.
    pub(crate) fn types(&self) -> Vec<(usize, String)> {
        let declared = TYPES.captures_iter(&self.0);
        declared
            .map(|found| (self.line_of(&found), found[1].to_owned()))
            .collect()
    }

    fn line_of(&self, found: &Captures<'_>) -> usize {
        let start = found.get(0).expect("a match has a position").start();
        self.0[..start].matches('\n').count() + 1
    }
}

fn named(line: usize, path: &str) -> NamedPath {
    NamedPath {
        line,
        segments: path
            .split("::")
            .map(|segment| segment.trim().to_owned())
            .collect(),
    }
}

fn blank<'a>(found: &Captures<'_>) -> Cow<'a, str> {
    blank_text(&found[0]).into()
}

/// Replaces every byte with a space, except line breaks.
fn blank_text(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect()
}

/// The length in bytes of the item at the start of the code, including its attributes.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    let mut ends_with_semicolon = false;
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && !ends_with_semicolon {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ if depth == 0 && code[at..].starts_with("use ") => ends_with_semicolon = true,
            _ => {}
        }
    }
    code.len()
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.trim().to_owned()];
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let branches = split_at_depth_zero(group).into_iter();
    branches
        .filter(|branch| !branch.trim().is_empty())
        .flat_map(expand)
        .map(|rest| format!("{}{rest}", prefix.trim()))
        .collect()
}

fn split_at_depth_zero(group: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let is_separator = move |letter: char| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    group.split(is_separator).collect()
}

fn paths(text: &str) -> Vec<String> {
    let paths = Source::new(text).without_tests().paths();
    paths.iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn source_lists_each_path_of_a_nested_import() {
    let text = "pub use crate::{\n    core::{ids::HostId, time as clock},\n    store,\n};\n";
    assert_eq!(
        paths(text),
        [
            "crate::core::ids::HostId",
            "crate::core::time",
            "crate::store"
        ]
    );
}

#[test]
fn source_lists_paths_outside_imports_with_their_line() {
    let text = "fn ask() {\n    super::wait::pause();\n}\n";
    let path = Source::new(text).paths().remove(0);
    assert_eq!(path.segments, ["super", "wait", "pause"]);
    assert_eq!(path.line, 2);
}

#[test]
fn source_ignores_comments_strings_and_tests() {
    let text = r####"
// crate::a::b
/* crate::a::b */
const C: [&str; 3] = ["\"crate::a::b", r#"crate::a::"b"#, "//"];
fn f<'a>(c: &'a char) -> bool { *c == '"' && crate::real::yes() }
#[cfg(test)]
use crate::test::{one, two};
#[cfg(test)]
#[expect(dead_code)]
mod tests { fn f() { crate::a::b(); } }
fn g() { crate::real::too() }
"####;
    assert_eq!(paths(text), ["crate::real::yes", "crate::real::too"]);
}
