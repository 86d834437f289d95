//! The TOML blocks of the README and of the guides are read by ship. The word after `toml` says what
//! a block is: `playbook`, `inventory`, `inventory-part`, or nothing for a part of a playbook.

use std::io;
use std::path::Path;

use ship::config::{StackOverrides, load_stack};
use toml::{Table, Value};

use crate::markdown::{Block, Page, assert_none, docs};

const INVENTORY: &str = r#"playbook = "page.toml"
[fleet]
name = "production"
[ssh]
user = "deploy"
sudo = true
[[hosts]]
name = "web1"
labels = { zone = "a" }
address = "192.168.72.233"
[[hosts]]
name = "web2"
labels = { zone = "b" }
address = "192.168.72.2"
"#;

/// The beginning of a stack.
const STACK: &str = r#"[fleet]
name = "production"
[[services]]
playbook = "page.toml"
[[hosts]]
name = "web1"
address = "192.168.72.233"
"#;

const BALANCERS: &str = r#"
[[balancers]]
name = "lb1"
address = "192.168.72.10"
"#;

const PLAYBOOK: &str = r#"version = "0.8"
[service]
name = "page"
command = "/usr/bin/python3 page.py"
ports = [8081, 8082]
driver = "systemd"
[artifact]
source = "page-{{ version }}.tar.gz"
"#;

const TRAFFIC: &str = "[traffic]\ndriver = \"haproxy\"\nsocket = \"/run/haproxy/admin.sock\"\n";

#[test]
fn toml_blocks_are_valid_configuration() {
    let mut problems = Vec::new();
    for page in pages() {
        for block in page.blocks() {
            if let Some(why) = problem(&block) {
                let line = block.line;
                problems.push(format!("{}:{line}: {}\n{why}", page.path, block.info));
            }
        }
    }
    assert_none(&problems);
}

/// A reference shows keys that exclude one another, so that only its complete files are valid.
#[test]
fn toml_blocks_of_the_references_are_toml() {
    let mut problems = Vec::new();
    let pages = docs().into_iter();
    for page in pages.filter(|page| page.path.starts_with("docs/reference/")) {
        for block in page.blocks() {
            let why = match block.info.as_str() {
                "toml" => block.text.parse::<Table>().err().map(|why| why.to_string()),
                _ => problem(&block),
            };
            problems.extend(why.map(|why| format!("{}:{}: {why}", page.path, block.line)));
        }
    }
    assert_none(&problems);
}

/// The pages whose blocks a reader copies.
fn pages() -> Vec<Page> {
    let guides = docs().into_iter().filter(|page| {
        [
            "docs/getting-started/",
            "docs/guides/",
            "docs/coming-from/",
            "docs/concepts/",
        ]
        .iter()
        .any(|dir| page.path.starts_with(dir))
    });
    [Page::read("README.md")]
        .into_iter()
        .chain(guides)
        .collect()
}

/// Why ship does not accept a block.
fn problem(block: &Block) -> Option<String> {
    let mut words = block.info.split_whitespace();
    if words.next() != Some("toml") {
        return None;
    }
    let (inventory, playbook) = match words.next() {
        Some("playbook") => (INVENTORY.to_owned(), block.text.clone()),
        Some("inventory") => (block.text.clone(), PLAYBOOK.to_owned()),
        Some("stack-part") => (format!("{STACK}{}", block.text), PLAYBOOK.to_owned()),
        Some("inventory-part") => match laid_over(INVENTORY, &block.text) {
            Ok(inventory) => (inventory, PLAYBOOK.to_owned()),
            Err(why) => return Some(why),
        },
        None => match laid_over(PLAYBOOK, &block.text) {
            Ok(playbook) => (INVENTORY.to_owned(), playbook),
            Err(why) => return Some(why),
        },
        Some(word) => return Some(format!("unknown word `{word}` after `toml`")),
    };
    rejection(inventory, playbook)
}

/// What ship prints about two files, completed so that balancers and `[traffic]` stand together.
fn rejection(mut inventory: String, mut playbook: String) -> Option<String> {
    let needs_balancers =
        playbook.contains("[traffic]") && !playbook.contains("driver = \"nftables\"");
    if needs_balancers && !inventory.contains("[[balancers]]") {
        inventory.push_str(BALANCERS);
    }
    if inventory.contains("[[balancers]]") && !playbook.contains("[traffic]") {
        playbook.push_str(TRAFFIC);
    }
    let read = |path: &Path| match path.to_str() {
        Some("inventory.toml") => Ok(inventory.clone().into_bytes()),
        Some(path) => Ok(named_by(path, &playbook).into_bytes()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let overrides = StackOverrides::default();
    let loaded = load_stack(Path::new("inventory.toml"), &overrides, read, None);
    loaded.err().map(|report| report.to_string())
}

/// The playbook with the name and a port of its own, as the playbooks of a stack have.
fn named_by(path: &str, playbook: &str) -> String {
    let name = path
        .trim_end_matches(".toml")
        .rsplit('/')
        .next()
        .unwrap_or(path);
    let port = 8000 + path.bytes().map(u32::from).sum::<u32>();
    playbook
        .replace("name = \"page\"", &format!("name = \"{name}\""))
        .replace(
            "ports = [8081, 8082]",
            &format!("ports = [{port}, {}]", port + 10_000),
        )
}

/// A file with the tables and keys of a part laid over it.
fn laid_over(base: &str, part: &str) -> Result<String, String> {
    let mut base: Table = base.parse().expect("a valid file");
    let part: Table = part
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    lay_over(&mut base, part);
    Ok(base.to_string())
}

fn lay_over(base: &mut Table, part: Table) {
    for (key, value) in part {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(part)) => lay_over(base, part),
            // Entries of an array of tables are added.
            (Some(Value::Array(base)), Value::Array(part)) if base.iter().all(Value::is_table) => {
                base.extend(part);
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[test]
fn wrong_block_is_rejected() {
    let block = |info: &str, text: &str| {
        let (info, text) = (info.to_owned(), text.to_owned());
        problem(&Block {
            line: 1,
            info,
            text,
        })
    };
    assert_eq!(block("toml", "[rollout]\nmax_surge = 2\n"), None);
    assert_eq!(block("toml inventory-part", "[ssh]\nport = 2222\n"), None);
    assert_eq!(block("json", "{"), None);
    for (info, text) in [
        ("toml", "[rollout]\nmax_serge = 2\n"),
        ("toml", "[rollout\n"),
        ("toml playbook", "[rollout]\n"),
        ("toml inventory-part", "[rollout]\n"),
        ("toml nonsense", ""),
    ] {
        assert!(block(info, text).is_some(), "{info}: {text}");
    }
}
