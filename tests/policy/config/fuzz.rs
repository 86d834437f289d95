//! Any input ends with a project or a report within a bounded time, and an accepted project is valid.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ship::config::{Overrides, Project, SlotVars, load_with, render};

use ship_testing::mutation::{cases, mutated, mutated_text};

/// Much longer than the longest text takes on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Reads two texts as an inventory and a playbook, and renders their errors.
fn read_and_report(inventory: &[u8], playbook: &[u8], overrides: &Overrides) {
    let began = Instant::now();
    let read = |path: &Path| {
        let text = if path == Path::new("fleet.toml") {
            inventory
        } else {
            playbook
        };
        Ok(text.to_vec())
    };
    match load_with(Path::new("fleet.toml"), overrides, read) {
        Ok(project) => keeps_the_rules(&project),
        Err(wrong) => {
            assert!(!wrong.is_empty());
            assert!(wrong.render(true).len() >= wrong.render(false).len());
        }
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// The properties on which other modules rely, because values become paths, arguments and unit
/// names.
fn keeps_the_rules(project: &Project) {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
        !name.is_empty() && name.chars().all(plain) && !name.starts_with(['.', '-'])
    };
    let Project {
        inventory,
        playbook,
    } = project;
    assert!(
        is_name(&inventory.fleet) && is_name(&playbook.service.name),
        "{project:?}"
    );
    assert!(!inventory.hosts.is_empty() || inventory.hosts_from.is_some());
    for host in &inventory.hosts {
        assert!(is_name(host.name.as_str()), "{host:?}");
        let is_argument = |text: &str| {
            !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_control)
        };
        assert!(
            is_argument(&host.address) && host.ssh.user.as_deref().is_none_or(is_argument),
            "{host:?}"
        );
        assert!(
            host.base_dir
                .as_deref()
                .is_none_or(|dir| !dir.contains(char::is_control)),
            "{host:?}"
        );
        assert!(host.ssh.connect_timeout > Duration::ZERO, "{host:?}");
    }
    assert!(
        !playbook.service.slots.numbers().is_empty()
            && !playbook.service.slots.numbers().contains(&0),
        "{playbook:?}"
    );
}

const INVENTORIES: [&str; 3] = [
    include_str!("../../../inventory/production.toml"),
    include_str!("../../../inventory/local.toml"),
    include_str!("../../../inventory/vagrant.toml"),
];
const PLAYBOOKS: [&str; 2] = [
    include_str!("../../../playbooks/testpage.toml"),
    include_str!("../../../playbooks/in-place.toml"),
];

/// Templates that are invalid or produce too much.
const TEMPLATES: [&str; 17] = [
    "{{ [[]] * port * port * port }}",
    "{{ version }}-{{ port }}",
    "{{ labels.zone | upper }}",
    "{{ 'x' * 1000000000 }}",
    "{{ 'a\nb' | indent(9223372036854775807) }}",
    "{{ 1 // 0 }}{{ 1 % 0 }}",
    "{{ (-9223372036854775807 - 1) // -1 }}",
    "{{ 2 ** 100000 }}",
    "{{ [1, 2] | slice(1000000000) | list }}",
    "{{ 'x' | replace('', 'y' * 100000) }}",
    "{{ range(0, 9223372036854775807) | list }}",
    "{{ '%1000000000s' | format('x') }}",
    "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor \
     %}",
    "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}",
    "{{ [1] * 9223372036854775807 }}",
    "{{ 'abc'[9223372036854775807:-9223372036854775807:-1] }}",
    "{{ version if port else host }}{# … #}",
];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn config_does_not_panic_on_any_bytes(
        inventory in proptest::collection::vec(any::<u8>(), 0..200),
        playbook in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        read_and_report(&inventory, PLAYBOOKS[0].as_bytes(), &Overrides::default());
        read_and_report(INVENTORIES[0].as_bytes(), &playbook, &Overrides::default());
    }

    #[test]
    fn config_does_not_panic_on_any_text(inventory in "\\PC{0,80}", playbook in "([a-z\\[\\]{}=\"'., \
                                                                      \n\r\té\u{1F600}]){0,80}") {
        read_and_report(inventory.as_bytes(), PLAYBOOKS[0].as_bytes(), &Overrides::default());
        read_and_report(INVENTORIES[0].as_bytes(), playbook.as_bytes(), &Overrides::default());
    }

    #[test]
    fn config_does_not_panic_on_changed_examples(
        inventory in mutated(texts(&INVENTORIES)),
        playbook in mutated(texts(&PLAYBOOKS)),
    ) {
        read_and_report(&inventory, &playbook, &Overrides::default());
    }

    #[test]
    fn config_does_not_panic_on_any_override(
        key in "(rollout|service|version|readiness|[a-z.\"]{0,8})(\\.[a-z_]{0,10}){0,3}",
        value in "\\PC{0,20}|[0-9a-z\"'\\[\\]{}#%\n.]{0,20}",
    ) {
        let overrides = Overrides { version: Some(value.clone()), set: vec![format!("{key}={value}"), value] };
        read_and_report(INVENTORIES[0].as_bytes(), PLAYBOOKS[0].as_bytes(), &overrides);
    }

    /// Every key of the examples, with a value of every type.
    #[test]
    fn config_does_not_panic_on_any_type(
        which: proptest::sample::Index,
        value in prop::sample::select(vec![
            "0", "-1", "1", "65535", "65536", "9223372036854775807", "1e308", "nan", "true", "\"\"", "\"x\"", "\"-1s\"",
            "\"99999999999999999999s\"", "\"0s\"", "\"100%\"", "\"-5%\"", "\"{{ port }}\"", "[]", "[[]]", "[1, \"a\"]", "{}",
            "{ a = { b = 1 } }", "1979-05-27", "\"\\u0000\"", "\"/\"", "\"../..\"", "'''\n'''",
        ]),
    ) {
        for (text, is_inventory) in [(INVENTORIES[0], true), (PLAYBOOKS[0], false)] {
            let lines: Vec<_> = text.lines().collect();
            let keys: Vec<_> = (0..lines.len()).filter(|at| lines[*at].contains('=')).collect();
            let at = *which.get(&keys);
            let key = lines[at].trim_start_matches("# ").split('=').next().unwrap_or_default();
            let changed = [&lines[..at], &[&format!("{key}= {value}")], &lines[at + 1..]].concat().join("\n");
            let (inventory, playbook) = if is_inventory { (changed.as_str(), PLAYBOOKS[0]) } else { (INVENTORIES[0], changed.as_str()) };
            read_and_report(inventory.as_bytes(), playbook.as_bytes(), &Overrides::default());
        }
    }

    #[test]
    fn template_returns_a_text_or_an_error(
        template in mutated_text(TEMPLATES.map(str::to_owned).into()),
    ) {
        let labels = [("zone".to_owned(), "a".to_owned())].into();
        let vars = SlotVars {
            version: "0.9", slot: 8081, port: Some(8081), ports: &[], address: "10.0.0.1", host: &"web1".into(), service: "web", fleet: "test", labels: &labels,
        };
        let began = Instant::now();
        if let Ok(text) = render(&template, &vars) {
            // The length of the template, and what it can produce with its fuel.
            prop_assert!(text.len() <= template.len() + 16_000_000, "{} bytes", text.len());
        }
        prop_assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
}
