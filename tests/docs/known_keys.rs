//! The keys that ship knows, by its own account: it lists them when a table has an unknown key.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use ship::config::{Overrides, load_with};

/// Tables, such as `service` or the empty name for the top level, each with its keys.
pub(crate) type Tables = BTreeMap<String, BTreeSet<String>>;

pub(crate) struct KnownKeys {
    pub(crate) playbook: Tables,
    pub(crate) inventory: Tables,
}

/// A key that resembles no other, so that the message lists all keys of the table.
const UNKNOWN: &str = "qqqqqqqqqqqqqqqq";

static LISTED: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = format!(r"unknown key `{UNKNOWN}` in ([^\n]+)\n[\s\S]*?valid keys: ([^\n]+)");
    Regex::new(&pattern).expect("a valid pattern")
});

const INVENTORY: &str = r#"? = 1
[[services]]
playbook = "playbook.toml"
? = 1
[stack]
? = 1
[fleet]
name = "x"
? = 1
[state]
? = 1
[ssh]
? = 1
[[hosts]]
name = "web1"
? = 1
[hosts_from]
command = ["hosts"]
? = 1
[[balancers]]
name = "lb1"
? = 1
"#;

/// Tables whose keys depend on another key, one variant a line.
const VARIANTS: [&[&str]; 5] = [
    &[
        "[traffic]\ndriver = \"haproxy\"",
        ANALYSIS_COMPARE,
        STEP,
        CHANNEL,
    ],
    &[
        "[traffic]\ndriver = \"nginx\"",
        "[[analysis]]\nname = \"x\"\nkind = \"http\"",
        NEWEST,
    ],
    &[
        "[traffic]\ndriver = \"nftables\"",
        "[[analysis]]\nname = \"x\"\nkind = \"prometheus\"",
    ],
    &[
        "[traffic]\ndriver = \"command\"",
        "[[analysis]]\nname = \"x\"\nkind = \"command\"",
    ],
    &[
        "[monitor]",
        "[[hooks]]",
        "[[migrations]]",
        "[notify]",
        "[notify.webhook]",
        "[notify.mail]",
        "[metrics]",
        "[unattended]",
        "[liveness]",
    ],
];
const ANALYSIS_COMPARE: &str = "[[analysis]]\nname = \"x\"\nkind = \"compare\"";
const STEP: &str = "[[rollout.steps]]";
const CHANNEL: &str = "[artifact.channels.a]\nsource = \"x\"";
const NEWEST: &str = "[artifact.channels.b]\nnewest = \"x\"";

const PLAYBOOK: &str =
    "? = 1\n[service]\n? = 1\n[artifact]\n? = 1\n[readiness]\n? = 1\n[rollout]\n? = 1\n";

pub(crate) fn known_keys() -> KnownKeys {
    let mut all = Tables::new();
    for variant in VARIANTS {
        let tables = variant.iter().map(|table| format!("{table}\n? = 1\n"));
        let playbook = tables.fold(PLAYBOOK.to_owned(), |text, table| text + &table);
        for (table, keys) in listed(&playbook) {
            all.entry(table).or_default().extend(keys);
        }
    }
    let of_the_inventory = [
        "the inventory",
        "fleet",
        "services",
        "stack",
        "state",
        "ssh",
        "hosts",
        "hosts_from",
        "balancers",
    ];
    let (inventory, playbook): (Tables, Tables) = all
        .into_iter()
        .partition(|(table, _)| of_the_inventory.contains(&table.as_str()));
    KnownKeys {
        playbook: renamed(playbook),
        inventory: renamed(inventory),
    }
}

/// The keys that ship lists for each table of an inventory and a playbook.
fn listed(playbook: &str) -> Tables {
    let with_unknown = |text: &str| text.replace("? =", &format!("{UNKNOWN} ="));
    let read = |path: &Path| match path.to_str() {
        Some("inventory.toml") => Ok(with_unknown(INVENTORY).into_bytes()),
        Some("playbook.toml") => Ok(with_unknown(playbook).into_bytes()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let loaded = load_with(Path::new("inventory.toml"), &Overrides::default(), read);
    let report = loaded.expect_err("unknown keys are errors").to_string();
    let mut tables = Tables::new();
    for found in LISTED.captures_iter(&report) {
        let keys = found[2].split(", ").map(str::to_owned);
        let table = found[1].trim().trim_matches(['[', ']']).to_owned();
        tables.entry(table).or_default().extend(keys);
    }
    tables
}

/// The tables by their paths.
fn renamed(tables: Tables) -> Tables {
    let path = |name: String| match name.as_str() {
        "the inventory" | "the playbook" => String::new(),
        "a step" => "rollout.steps".to_owned(),
        "a channel" => "artifact.channels".to_owned(),
        _ => name,
    };
    tables
        .into_iter()
        .map(|(name, keys)| (path(name), keys))
        .collect()
}

#[test]
fn known_keys_are_those_of_every_table() {
    let known = known_keys();
    let count = |tables: &Tables| tables.values().map(BTreeSet::len).sum::<usize>();
    let tables: Vec<_> = known.playbook.keys().map(String::as_str).collect();
    let expected = [
        "",
        "analysis",
        "artifact",
        "artifact.channels",
        "hooks",
        "liveness",
        "metrics",
        "migrations",
        "monitor",
        "notify",
        "notify.mail",
        "notify.webhook",
        "readiness",
        "rollout",
        "rollout.steps",
        "service",
        "traffic",
        "unattended",
    ];
    assert_eq!(tables, expected);
    let tables: Vec<_> = known.inventory.keys().map(String::as_str).collect();
    assert_eq!(
        tables,
        [
            "",
            "balancers",
            "fleet",
            "hosts",
            "hosts_from",
            "services",
            "ssh",
            "stack",
            "state"
        ]
    );
    // Far fewer would mean that the lists were not understood.
    assert!(count(&known.playbook) > 100, "{}", count(&known.playbook));
    assert!(count(&known.inventory) > 30, "{}", count(&known.inventory));
}
