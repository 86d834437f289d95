//! The floors: a module imports only floors below it, and the core stays pure. It reads the source
//! and says where not.

use std::fmt;
use std::fs;
use std::path::Path;

/// Modules by floor, lowest first.
const FLOORS: [&[&str]; 7] = [
    &["core", "system"],
    &["config", "script", "trust"],
    &["artifact", "remote", "probe", "store", "report", "notify"],
    &["balancer"],
    &["engine"],
    &["app"],
    &["cli"],
];

/// What would make the core wait, speak, read a clock, or depend on chance.
const IMPURE: [&str; 10] = [
    "tokio",
    "tracing",
    "std::fs",
    "std::net",
    "std::process",
    "SystemTime::now",
    "Instant::now",
    "HashMap",
    "HashSet",
    "println!",
];

const MOST_LINES: usize = 600;

#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

/// What is wrong with one file; `file` is its path below `src`, with slashes.
fn breaches(file: &str, text: &str) -> Vec<Breach> {
    let mut found = Vec::new();
    let module = file.split(['/', '.']).next().unwrap_or_default();
    let breach = |line: usize, what: String| Breach {
        file: file.to_owned(),
        line: line + 1,
        what,
    };
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(floor) = floor_of(module) {
            for imported in imports(code)
                .into_iter()
                .filter(|imported| *imported != module)
            {
                if floor_of(imported).is_some_and(|other| other >= floor) {
                    found.push(breach(
                        number,
                        format!("`{module}` must not know `{imported}`, which is no lower floor"),
                    ));
                }
            }
        }
        if module == "core" {
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                found.push(breach(
                    number,
                    format!("the core is pure and must not use `{word}`"),
                ));
            }
        }
    }
    if text.lines().count() > MOST_LINES {
        found.push(breach(
            MOST_LINES,
            format!("more than {MOST_LINES} lines: this file wants to be two"),
        ));
    }
    found
}

/// The crate's modules that a line of code names: `crate::x`, `ship::x`, and each of `crate::{x,
/// y::z}`.
fn imports(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for root in ["crate::", "ship::"] {
        for (at, _) in code.match_indices(root) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => {
                    found.extend(group.split([',', '}']).map(|item| first_word(item.trim())));
                }
                None => found.push(first_word(rest)),
            }
        }
    }
    found
}

fn first_word(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

fn every_file_below(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            every_file_below(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path);
        }
    }
}

#[test]
fn every_module_imports_only_floors_below_it_and_the_core_is_pure() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut found) = (0, Vec::new());
    every_file_below(&src, &mut |path| {
        let file = path
            .strip_prefix(&src)
            .expect("below src")
            .to_string_lossy()
            .replace('\\', "/");
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        found.extend(breaches(&file, &text));
        files += 1;
    });
    assert!(files > 20, "only {files} files were read");
    let found: Vec<String> = found.iter().map(Breach::to_string).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    let lib = include_str!("../src/lib.rs");
    let modules = lib
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    let homeless: Vec<_> = modules
        .filter(|module| floor_of(module).is_none())
        .collect();
    assert_eq!(homeless, Vec::<&str>::new());
}

// ── it bites ─────────────────────────────────────────────────────────────────────────────────────

fn words(file: &str, text: &str) -> Vec<String> {
    breaches(file, text).iter().map(Breach::to_string).collect()
}

#[test]
fn an_import_from_a_higher_floor_or_a_neighbour_is_found() {
    assert_eq!(
        words(
            "script/start.rs",
            "//! Starts.\n\nuse crate::engine::run;\nuse crate::core::rollout::action::Action;\n"
        ),
        ["script/start.rs:3: `script` must not know `engine`, which is no lower floor"]
    );
    assert_eq!(
        words(
            "probe/http.rs",
            "fn ask() {\n    crate::remote::run();\n}\n"
        ),
        ["probe/http.rs:2: `probe` must not know `remote`, which is no lower floor"]
    );
    assert_eq!(
        words(
            "config/mod.rs",
            "use crate::{core::spec, store::Journal};\n"
        ),
        ["config/mod.rs:1: `config` must not know `store`, which is no lower floor"]
    );
}

#[test]
fn an_import_from_a_lower_floor_or_from_within_is_fine() {
    let text = "use crate::core::planner::plan;\nuse crate::script::quote;\nuse \
                crate::engine::perform; // crate::cli\n";
    assert_eq!(words("engine/run.rs", text), Vec::<String>::new());
}

#[test]
fn an_impure_core_is_found() {
    assert_eq!(
        words(
            "core/plan.rs",
            "use std::collections::HashMap;\nlet now = std::time::Instant::now();\n"
        ),
        [
            "core/plan.rs:1: the core is pure and must not use `HashMap`",
            "core/plan.rs:2: the core is pure and must not use `Instant::now`",
        ]
    );
    assert_eq!(
        words("engine/run.rs", "let now = std::time::Instant::now();\n"),
        Vec::<String>::new()
    );
}

#[test]
fn a_file_that_has_grown_too_long_is_found() {
    assert_eq!(
        words("cli/mod.rs", &"\n".repeat(601)),
        ["cli/mod.rs:601: more than 600 lines: this file wants to be two"]
    );
}
