//! Whatever is in the files, reading them ends with a project or a report.

use std::path::Path;

use proptest::prelude::*;
use ship::config::{Overrides, load_with};

/// Reads two texts as an inventory and a playbook and renders what is wrong: neither may panic or hang.
fn read_and_report(inventory: &[u8], playbook: &[u8], overrides: &Overrides) {
    let read = |path: &Path| {
        let text = if path == Path::new("fleet.toml") { inventory } else { playbook };
        Ok(text.to_vec())
    };
    if let Err(wrong) = load_with(Path::new("fleet.toml"), overrides, read) {
        assert!(!wrong.is_empty());
        assert!(wrong.render(true).len() >= wrong.render(false).len());
    }
}

/// `text` with some of its bytes replaced, removed or doubled.
fn mutated(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let place = any::<proptest::sample::Index>();
    proptest::collection::vec((place, 0..4_u8, any::<u8>(), 1..20_usize), 0..6).prop_map(move |changes| {
        let mut bytes = text.as_bytes().to_vec();
        for (place, kind, byte, length) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            let end = (at + length).min(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..end)),
                2 => bytes.insert(at, b"\"[]{}=.#\n\r\t%-9\\'"[usize::from(byte) % 16]),
                _ => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        bytes
    })
}

const EXAMPLE_INVENTORY: &str = include_str!("../../inventory/production.toml");
const EXAMPLE_PLAYBOOK: &str = include_str!("../../playbooks/testpage.toml");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_it_panic(
        inventory in proptest::collection::vec(any::<u8>(), 0..200),
        playbook in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        read_and_report(&inventory, EXAMPLE_PLAYBOOK.as_bytes(), &Overrides::default());
        read_and_report(EXAMPLE_INVENTORY.as_bytes(), &playbook, &Overrides::default());
    }

    #[test]
    fn no_text_makes_it_panic(inventory in "\\PC{0,80}", playbook in "([a-z\\[\\]{}=\"'., \n\r\té\u{1F600}]){0,80}") {
        read_and_report(inventory.as_bytes(), EXAMPLE_PLAYBOOK.as_bytes(), &Overrides::default());
        read_and_report(EXAMPLE_INVENTORY.as_bytes(), playbook.as_bytes(), &Overrides::default());
    }

    #[test]
    fn no_change_of_the_examples_makes_it_panic(
        inventory in mutated(EXAMPLE_INVENTORY),
        playbook in mutated(EXAMPLE_PLAYBOOK),
    ) {
        read_and_report(&inventory, &playbook, &Overrides::default());
    }

    #[test]
    fn no_setting_makes_it_panic(
        key in "(rollout|service|version|readiness|[a-z.\"]{0,8})(\\.[a-z_]{0,10}){0,3}",
        value in "\\PC{0,20}|[0-9a-z\"'\\[\\]{}#%\n.]{0,20}",
    ) {
        let overrides = Overrides { version: Some(value.clone()), set: vec![format!("{key}={value}"), value] };
        read_and_report(EXAMPLE_INVENTORY.as_bytes(), EXAMPLE_PLAYBOOK.as_bytes(), &overrides);
    }
}
