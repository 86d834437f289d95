//! Every table and key of the configuration is in the glossary: as an entry, or listed under one.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::annotated::Annotated;
use crate::configuration_reference::{IN_PLACE, INVENTORY, PLAYBOOK};
use crate::known_keys::known_keys;
use crate::markdown::{Page, assert_none};

/// The number of entries: fewer leave words unexplained, more are a reference.
const ENTRIES: std::ops::RangeInclusive<usize> = 30..=65;

static ENTRY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^\*\*([^*]+)\*\*:").expect("a valid pattern"));
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("[A-Za-z0-9_]+").expect("a valid pattern"));

#[test]
fn glossary_covers_every_noun_of_the_configuration() {
    let glossary = Page::read("docs/glossary.md");
    let terms = ENTRY
        .captures_iter(&glossary.text)
        .map(|found| found[1].to_owned());
    let listed = glossary.code_spans().into_iter().map(|span| span.text);
    let mut words = BTreeSet::new();
    for text in terms.chain(listed) {
        words.extend(WORD.find_iter(&text).map(|word| word.as_str().to_owned()));
    }
    let missing = nouns().into_iter().filter(|noun| !words.contains(noun));
    assert_none(
        &missing
            .map(|noun| format!("docs/glossary.md lacks `{noun}`"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn glossary_has_a_readable_number_of_entries() {
    let glossary = Page::read("docs/glossary.md");
    let entries = ENTRY.find_iter(&glossary.text).count();
    assert!(
        ENTRIES.contains(&entries),
        "{entries} entries, expected {ENTRIES:?}"
    );
}

/// The names of tables and keys.
fn nouns() -> BTreeSet<String> {
    let mut nouns = BTreeSet::new();
    for file in [PLAYBOOK, IN_PLACE, INVENTORY] {
        for section in Annotated::read(file).sections {
            nouns.extend(section.path.split('.').map(str::to_owned));
        }
    }
    let known = known_keys();
    for (table, keys) in known.playbook.into_iter().chain(known.inventory) {
        nouns.extend(table.split('.').map(str::to_owned));
        nouns.extend(keys);
    }
    nouns.remove("");
    nouns
}
