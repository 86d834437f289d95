//! A module imports only floors below it, the core stays pure, no file grows too long, no files
//! import each other, and no two types share a name. The tests read the source and name each place where it is not so.

mod cycles;
mod source;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs;
use std::path::Path;

use source::{NamedPath, Source};

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

/// The module that a file is, as segments from the crate's root.
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
    /// The path from the crate's root. `None` where it leads to another crate, or nowhere that a
    /// path alone tells.
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

/// What is wrong with one file; `file` is its path below `src`, with slashes.
fn breaches(file: &str, text: &str) -> Vec<Breach> {
    let mut found = wrong_imports(file, text);
    let breach = |line: usize, what: String| Breach {
        file: file.to_owned(),
        line: line + 1,
        what,
    };
    if file.starts_with("core/") {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                found.push(breach(
                    number,
                    format!("the core is pure and must not use `{word}`"),
                ));
            }
        }
    }
    found
}

/// What is wrong with a file that has grown too long.
fn excess(file: &str, text: &str) -> Option<Breach> {
    (text.lines().count() > MOST_LINES).then(|| Breach {
        file: file.to_owned(),
        line: MOST_LINES + 1,
        what: format!("more than {MOST_LINES} lines: this file wants to be two"),
    })
}

/// The imports of floors that are not below a file's own.
fn wrong_imports(file: &str, text: &str) -> Vec<Breach> {
    let path = module_of(file);
    let Some(module) = path.first() else {
        return Vec::new();
    };
    let Some(floor) = floor_of(module) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for named in Source::new(text).paths() {
        let imported = named
            .absolute(&path, |_| false)
            .and_then(|absolute| absolute.into_iter().next())
            .filter(|imported| imported != module);
        let Some(imported) = imported else { continue };
        if floor_of(&imported).is_some_and(|other| other >= floor) {
            found.push(Breach {
                file: file.to_owned(),
                line: named.line,
                what: format!("`{module}` must not know `{imported}`, which is no lower floor"),
            });
        }
    }
    found
}

/// Whether a file is compiled for tests alone.
fn is_for_tests(file: &str) -> bool {
    ["tests.rs", "testing.rs"]
        .iter()
        .any(|end| file.ends_with(end))
        || file.contains("/tests/")
}

/// The types whose name an earlier file, or an earlier line, has given to another type.
fn shared_names(files: &[(String, String)]) -> Vec<Breach> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for (file, text) in files {
        for (line, name) in Source::new(text).without_tests().types() {
            let here = format!("{file}:{line}");
            match first.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(here);
                }
                Entry::Occupied(entry) => found.push(Breach {
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
fn every_file() -> Vec<(String, String)> {
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
fn every_module_imports_only_floors_below_it_and_the_core_is_pure() {
    let files = every_file();
    assert!(files.len() > 20, "only {} files were read", files.len());
    let found: Vec<String> = files
        .iter()
        .flat_map(|(file, text)| breaches(file, text))
        .map(|breach| breach.to_string())
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let found: Vec<String> = every_file()
        .iter()
        .filter_map(|(file, text)| excess(file, text))
        .map(|breach| breach.to_string())
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn type_names_are_used_once() {
    let mut files = every_file();
    files.retain(|(file, _)| !is_for_tests(file));
    let found: Vec<String> = shared_names(&files).iter().map(Breach::to_string).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    let lib = include_str!("../../../src/lib.rs");
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
fn an_import_over_several_lines_or_by_super_is_found() {
    assert_eq!(
        words(
            "config/mod.rs",
            "\nuse crate::{\n    core::spec,\n    store::Journal,\n};\n"
        ),
        ["config/mod.rs:2: `config` must not know `store`, which is no lower floor"]
    );
    assert_eq!(
        words(
            "config/value.rs",
            "fn f() {\n    super::super::store::open()\n}\n"
        ),
        ["config/value.rs:2: `config` must not know `store`, which is no lower floor"]
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
    let breach = excess("cli/mod.rs", &"\n".repeat(601)).expect("a breach");
    assert_eq!(
        breach.to_string(),
        "cli/mod.rs:601: more than 600 lines: this file wants to be two"
    );
    assert_eq!(excess("cli/mod.rs", &"\n".repeat(600)), None);
}

#[test]
fn a_type_name_that_is_used_twice_is_found() {
    let file = |file: &str, text: &str| (file.to_owned(), text.to_owned());
    let files = [
        file(
            "probe/http.rs",
            "// struct Other;\npub(super) struct Place {\n}\n#[cfg(test)]\nmod tests {\n    struct \
             Other;\n}\n",
        ),
        file("remote/target.rs", "\npub enum Place {\n}\nstruct Other;\n"),
    ];
    let found: Vec<String> = shared_names(&files).iter().map(Breach::to_string).collect();
    assert_eq!(
        found,
        ["remote/target.rs:2: `Place` is also a type of probe/http.rs:2"]
    );
}
