//! No two files import each other, directly or through other files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::source::{NamedPath, Source};
use super::{module_of, source_files};

/// The files that each file imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Returns the imports of each file; a file is its path below `src` and its text.
fn imports(files: &[(String, String)]) -> Imports {
    let modules: BTreeMap<Vec<String>, &str> = files
        .iter()
        .map(|(file, _)| (module_of(file), file.as_str()))
        .collect();
    let of_file = |(file, text): &(String, String)| {
        let module = module_of(file);
        let paths = Source::new(text).without_tests().paths();
        let imported = paths
            .iter()
            .filter_map(|path| file_of(path, &module, &modules))
            .filter(|imported| *imported != file)
            .map(str::to_owned);
        (file.clone(), imported.collect())
    };
    files.iter().map(of_file).collect()
}

/// Returns the file that contains the item of a path, if the path identifies it.
fn file_of<'a>(
    path: &NamedPath,
    module: &[String],
    modules: &BTreeMap<Vec<String>, &'a str>,
) -> Option<&'a str> {
    let path = path.absolute(module, |child| modules.contains_key(child))?;
    (1..=path.len())
        .rev()
        .find_map(|length| modules.get(&path[..length]))
        .copied()
}

/// Returns the groups of files that import each other, directly or through other files.
fn cycles(imports: &Imports) -> Vec<Vec<&str>> {
    let reachable: BTreeMap<&str, BTreeSet<&str>> = imports
        .keys()
        .map(|file| (file.as_str(), reachable_files(file, imports)))
        .collect();
    let mut groups = BTreeSet::new();
    for (file, others) in reachable
        .iter()
        .filter(|(file, others)| others.contains(*file))
    {
        let group = others.iter().copied().filter(|other| {
            reachable
                .get(other)
                .is_some_and(|imported| imported.contains(file))
        });
        groups.insert(group.collect());
    }
    groups.into_iter().collect()
}

fn reachable_files<'a>(file: &str, imports: &'a Imports) -> BTreeSet<&'a str> {
    let mut reachable = BTreeSet::new();
    let mut waiting = vec![file];
    while let Some(file) = waiting.pop() {
        for next in imports.get(file).into_iter().flatten() {
            if reachable.insert(next.as_str()) {
                waiting.push(next);
            }
        }
    }
    reachable
}

#[test]
fn source_files_have_no_import_cycles() {
    let imports = imports(&source_files());
    let links = imports.values().map(BTreeSet::len).sum::<usize>();
    assert!(links > 200, "only {links} imports were found");
    let found = cycles(&imports);
    let links: Vec<String> = found
        .iter()
        .map(|group| links_within(group, &imports))
        .collect();
    assert!(found.is_empty(), "{}", links.join("\n"));
}

/// Lists the imports within a group.
fn links_within(group: &[&str], imports: &Imports) -> String {
    let mut text = String::new();
    for file in group {
        for imported in &imports[*file] {
            if group.contains(&imported.as_str()) {
                writeln!(text, "{file} imports {imported}")
                    .expect("writing to a string cannot fail");
            }
        }
    }
    text
}

// ── tests of the check ───────────────────────────────────────────────────────────────────────────

fn cycles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let files: Vec<_> = files
        .iter()
        .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
        .collect();
    let imports = imports(&files);
    let owned = |group: Vec<&str>| group.into_iter().map(str::to_owned).collect();
    cycles(&imports).into_iter().map(owned).collect()
}

#[test]
fn check_finds_a_cycle_of_imports() {
    let found = cycles_of(&[
        ("a.rs", "use crate::b::{self, B};\n"),
        ("b.rs", "fn f() {\n    super::c::go();\n}\n"),
        ("c/mod.rs", "use self::inner::Inner;\n"),
        ("c/inner.rs", "use crate::a::A;\n"),
        ("d.rs", "use crate::a::A;\n"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs", "c/inner.rs", "c/mod.rs"]]);
}

#[test]
fn check_finds_a_cycle_of_a_module_and_its_parent() {
    let child = ("c/inner.rs", "use super::Outer;\n");
    for parent in ["use inner::Inner;\n", "fn f() { inner::go(); }\n"] {
        let found = cycles_of(&[("c/mod.rs", parent), child]);
        assert_eq!(found, [["c/inner.rs", "c/mod.rs"]], "{parent}");
    }
    let declared = ("c/mod.rs", "mod inner;\npub(crate) struct Outer;\n");
    assert_eq!(cycles_of(&[declared, child]), Vec::<Vec<String>>::new());
}

#[test]
fn check_ignores_a_cycle_through_a_test_module() {
    let found = cycles_of(&[
        ("a.rs", "use crate::b::B;\n"),
        (
            "b.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
        ),
    ]);
    assert_eq!(found, Vec::<Vec<String>>::new());
}
