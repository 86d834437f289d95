//! The rules of the architecture: a module imports only layers below it, the core is pure, no file is
//! too long, no files import each other, and no two types share a name. The tests read the source and
//! report each violation.

mod cycles;
mod source;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs;
use std::path::Path;

use source::{NamedPath, Source};

/// The modules of each layer, lowest first.
const LAYERS: [&[&str]; 7] = [
    &["core", "system"],
    &["config", "script", "trust"],
    &["artifact", "remote", "probe", "store", "report", "notify"],
    &["balancer"],
    &["engine"],
    &["app"],
    &["cli"],
];

/// Names that stand for I/O, logging, clocks or randomness, which the core must not use.
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

const LINES_MAX: usize = 600;

#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The module of a file, as segments from the crate root.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let path = if path == "lib" { "" } else { path };
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect()
}

impl NamedPath {
    /// The path from the crate root. `None` if it leads to another crate or cannot be resolved.
    fn absolute(
        &self,
        module: &[String],
        is_module: impl Fn(&[String]) -> bool,
    ) -> Option<Vec<String>> {
        let first = self.segments[0].as_str();
        let ups = self
            .segments
            .iter()
            .take_while(|segment| *segment == "super");
        let ups = ups.count();
        match first {
            "crate" | "ship" => Some(self.segments[1..].to_vec()),
            "self" => Some([module, &self.segments[1..]].concat()),
            "super" => {
                let above = &module[..module.len().saturating_sub(ups)];
                Some([above, &self.segments[ups..]].concat())
            }
            child => {
                let child = [module, &[child.to_owned()]].concat();
                is_module(&child).then(|| [module, &self.segments].concat())
            }
        }
    }
}

/// The violations in a file; `file` is its path below `src`, with slashes.
fn violations(file: &str, text: &str) -> Vec<Violation> {
    let mut found = wrong_imports(file, text);
    let violation = |line: usize, what: String| Violation {
        file: file.to_owned(),
        line: line + 1,
        what,
    };
    if file.starts_with("core/") {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                found.push(violation(
                    number,
                    format!("the core is pure and must not use `{word}`"),
                ));
            }
        }
    }
    found
}

/// The violation of a file that is too long.
fn check_length(file: &str, text: &str) -> Option<Violation> {
    (text.lines().count() > LINES_MAX).then(|| Violation {
        file: file.to_owned(),
        line: LINES_MAX + 1,
        what: format!("more than {LINES_MAX} lines: split this file"),
    })
}

/// The imports from layers that are not below the layer of the file.
fn wrong_imports(file: &str, text: &str) -> Vec<Violation> {
    let path = module_of(file);
    let Some(module) = path.first() else {
        return Vec::new();
    };
    let Some(layer) = layer_of(module) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for named in Source::new(text).paths() {
        let imported = named
            .absolute(&path, |_| false)
            .and_then(|absolute| absolute.into_iter().next())
            .filter(|imported| imported != module);
        let Some(imported) = imported else { continue };
        if layer_of(&imported).is_some_and(|other| other >= layer) {
            found.push(Violation {
                file: file.to_owned(),
                line: named.line,
                what: format!(
                    "`{module}` must not import `{imported}`, which is not in a lower layer"
                ),
            });
        }
    }
    found
}

/// Whether a file is compiled only for tests.
fn is_for_tests(file: &str) -> bool {
    ["tests.rs", "testing.rs"]
        .iter()
        .any(|end| file.ends_with(end))
        || file.contains("/tests/")
}

/// The types whose name another type has in an earlier file or line.
fn shared_names(files: &[(String, String)]) -> Vec<Violation> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for (file, text) in files {
        for (line, name) in Source::new(text).without_tests().types() {
            let here = format!("{file}:{line}");
            match first.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(here);
                }
                Entry::Occupied(entry) => found.push(Violation {
                    file: file.clone(),
                    line,
                    what: format!("`{}` is also a type of {}", entry.key(), entry.get()),
                }),
            }
        }
    }
    found
}

/// Every source file: its path below `src`, with slashes, and its text.
fn source_files() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    visit_files(&src, &mut |path| {
        let file = path.strip_prefix(&src).expect("below src");
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        files.push((file.to_string_lossy().replace('\\', "/"), text));
    });
    files
}

fn visit_files(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            visit_files(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path);
        }
    }
}

#[test]
fn modules_import_only_lower_layers_and_core_is_pure() {
    let files = source_files();
    assert!(files.len() > 20, "only {} files were found", files.len());
    let found: Vec<String> = files
        .iter()
        .flat_map(|(file, text)| violations(file, text))
        .map(|violation| violation.to_string())
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn source_files_keep_the_line_limit() {
    let found: Vec<String> = source_files()
        .iter()
        .filter_map(|(file, text)| check_length(file, text))
        .map(|violation| violation.to_string())
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn type_names_are_unique() {
    let mut files = source_files();
    files.retain(|(file, _)| !is_for_tests(file));
    let found: Vec<String> = shared_names(&files)
        .iter()
        .map(Violation::to_string)
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let lib = include_str!("../../../src/lib.rs");
    let modules = lib
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    let without_layer: Vec<_> = modules
        .filter(|module| layer_of(module).is_none())
        .collect();
    assert_eq!(without_layer, Vec::<&str>::new());
}

// ── tests of the rules ───────────────────────────────────────────────────────────────────────────

fn violation_texts(file: &str, text: &str) -> Vec<String> {
    violations(file, text)
        .iter()
        .map(Violation::to_string)
        .collect()
}

#[test]
fn check_finds_an_import_from_the_same_or_a_higher_layer() {
    assert_eq!(
        violation_texts(
            "script/start.rs",
            "//! Starts.\n\nuse crate::engine::run;\nuse crate::core::rollout::action::Action;\n"
        ),
        ["script/start.rs:3: `script` must not import `engine`, which is not in a lower layer"]
    );
    assert_eq!(
        violation_texts(
            "probe/http.rs",
            "fn ask() {\n    crate::remote::run();\n}\n"
        ),
        ["probe/http.rs:2: `probe` must not import `remote`, which is not in a lower layer"]
    );
    assert_eq!(
        violation_texts(
            "config/mod.rs",
            "use crate::{core::spec, store::Journal};\n"
        ),
        ["config/mod.rs:1: `config` must not import `store`, which is not in a lower layer"]
    );
}

#[test]
fn check_finds_an_import_over_several_lines_or_by_super() {
    assert_eq!(
        violation_texts(
            "config/mod.rs",
            "\nuse crate::{\n    core::spec,\n    store::Journal,\n};\n"
        ),
        ["config/mod.rs:2: `config` must not import `store`, which is not in a lower layer"]
    );
    assert_eq!(
        violation_texts(
            "config/value.rs",
            "fn f() {\n    super::super::store::open()\n}\n"
        ),
        ["config/value.rs:2: `config` must not import `store`, which is not in a lower layer"]
    );
}

#[test]
fn check_accepts_imports_from_lower_layers_and_the_own_module() {
    let text = "use crate::core::planner::plan;\nuse crate::script::quote;\nuse \
                crate::engine::perform; // crate::cli\n";
    assert_eq!(violation_texts("engine/run.rs", text), Vec::<String>::new());
}

#[test]
fn check_finds_impure_code_in_core() {
    assert_eq!(
        violation_texts(
            "core/plan.rs",
            "use std::collections::HashMap;\nlet now = std::time::Instant::now();\n"
        ),
        [
            "core/plan.rs:1: the core is pure and must not use `HashMap`",
            "core/plan.rs:2: the core is pure and must not use `Instant::now`",
        ]
    );
    assert_eq!(
        violation_texts("engine/run.rs", "let now = std::time::Instant::now();\n"),
        Vec::<String>::new()
    );
}

#[test]
fn check_finds_a_file_over_the_line_limit() {
    let violation = check_length("cli/mod.rs", &"\n".repeat(601)).expect("a violation");
    assert_eq!(
        violation.to_string(),
        "cli/mod.rs:601: more than 600 lines: split this file"
    );
    assert_eq!(check_length("cli/mod.rs", &"\n".repeat(600)), None);
}

#[test]
fn check_finds_a_type_name_that_is_used_twice() {
    let file = |file: &str, text: &str| (file.to_owned(), text.to_owned());
    let files = [
        file(
            "probe/http.rs",
            "// struct Other;\npub(super) struct Place {\n}\n#[cfg(test)]\nmod tests {\n    struct \
             Other;\n}\n",
        ),
        file("remote/target.rs", "\npub enum Place {\n}\nstruct Other;\n"),
    ];
    let found: Vec<String> = shared_names(&files)
        .iter()
        .map(Violation::to_string)
        .collect();
    assert_eq!(
        found,
        ["remote/target.rs:2: `Place` is also a type of probe/http.rs:2"]
    );
}
