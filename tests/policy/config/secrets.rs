//! Secrets are read and validated, and never shown.

use std::collections::BTreeMap;

use ship::config::{Overrides, load, read_secrets};
use snapbox::{IntoData, assert_data_eq, str};

use super::{INVENTORY, PLAYBOOK, files};

#[test]
fn secret_that_is_also_in_env_is_refused() {
    let files = files().playbook(
        "ports = [8081, 8082]",
        "ports = [8081, 8082]\nsecrets = [\"VERSION\"]",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: variable `VERSION` is defined twice
 --> web.toml:6:12
  |
6 | secrets = ["VERSION"]
  |            ^^^^^^^^^
7 | [service.env]
8 | VERSION = "{{ version }}"
  |           --------------- first defined here
  |
  = help: keep one of the two
"#]]
        .raw()
    );
}

#[test]
fn invalid_secret_name_is_refused() {
    let files = files().playbook(
        "ports = [8081, 8082]",
        "ports = [8081, 8082]\nsecrets = [\"A B\"]",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `secrets` cannot contain ` `: `A B`
 --> web.toml:6:12
  |
6 | secrets = ["A B"]
  |            ^^^^^
  |
  = help: the name of a variable may have up to 255 characters: letters, digits and `_`, not beginning with a digit
"#]]
        .raw()
    );
}

/// The secrets of a playbook with `keys` in its service, from `env_file` and an environment that has
/// only TOKEN.
fn secrets(keys: &str, env_file: &str) -> Result<BTreeMap<String, String>, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secrets.env"), env_file).unwrap();
    std::fs::write(directory.path().join("fleet.toml"), INVENTORY).unwrap();
    std::fs::write(
        directory.path().join("web.toml"),
        PLAYBOOK.replace("[service]", &format!("[service]\n{keys}")),
    )
    .unwrap();
    let project = load(&directory.path().join("fleet.toml"), &Overrides::default())
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    let variable = |name: &str| (name == "TOKEN").then(|| "t0ken $x".into());
    let report = |wrong: ship::config::Diagnostics| {
        wrong
            .to_string()
            .replace(&format!("{}/", directory.path().display()), "")
    };
    read_secrets(&project.playbook.service, variable)
        .map(|secrets| secrets.expose().clone())
        .map_err(report)
}

#[test]
fn secrets_come_from_a_file_and_from_the_environment() {
    let found = secrets(
        "env_file = \"secrets.env\"\nsecrets = [\"TOKEN\"]",
        "# one\n\nDB_PASSWORD = no\n",
    )
    .unwrap_err();
    assert!(!found.contains("no\n"), "{found}");
    let found = secrets(
        "env_file = \"secrets.env\"\nsecrets = [\"TOKEN\"]",
        "# one\n\nDB_PASSWORD=it's # $1\n",
    )
    .unwrap();
    let expected = [("DB_PASSWORD", "it's # $1"), ("TOKEN", "t0ken $x")];
    assert_eq!(
        found,
        expected
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
    assert_eq!(secrets("", "").unwrap(), BTreeMap::new());
}

#[test]
fn errors_in_secrets_do_not_show_them() {
    let env_file = "TOKEN=a\nhunter2\nVERSION=1\nTOKEN=b\nKEY=\"hunter2\n  K2=hun\tter\u{1b}2\n";
    let keys = "env_file = \"secrets.env\"\nsecrets = [\"TOKEN\", \"MISSING\"]";
    let report = secrets(keys, env_file).unwrap_err();
    assert!(!report.contains("hun"), "{report}");
    assert_data_eq!(
        report,
        str![[r#"
error: this line is not KEY=VALUE
--> secrets.env:2:1
 = help: write KEY=VALUE, with letters, digits and `_` in the key

error: variable `VERSION` is defined twice
--> secrets.env:3:1
 = help: keep one definition, here or in `env`

error: variable `TOKEN` is defined twice
--> secrets.env:4:1
 = help: keep one definition, here or in `env`

error: this value has an unclosed quote
--> secrets.env:5:5
 = help: put the whole value in the other kind of quotes, on one line: KEY='a"b'

error: this value contains a control character
--> secrets.env:6:6
 = help: encode the value, for example in base64

error: variable `TOKEN` is also in `env_file`
 --> web.toml:4:12
  |
4 | secrets = ["TOKEN", "MISSING"]
  |            ^^^^^^^
  |
  = help: keep it in one of the two

error: secret `MISSING` is not set in the environment
 --> web.toml:4:21
  |
4 | secrets = ["TOKEN", "MISSING"]
  |                     ^^^^^^^^^
  |
  = help: set it only for ship: MISSING=… ship deploy …
"#]]
        .raw()
    );
}

#[test]
fn byte_order_mark_is_not_part_of_the_first_variable() {
    let found = secrets("env_file = \"secrets.env\"", "\u{feff}DB_PASSWORD=a\n").unwrap();
    assert_eq!(found, [("DB_PASSWORD".to_owned(), "a".to_owned())].into());
}

#[test]
fn multi_line_value_is_reported_once_with_a_hint() {
    let key = "KEY=-----BEGIN PRIVATE KEY-----\nhunter2\nhunter3=\n-----END PRIVATE KEY-----\n";
    let json = "JSON='{\n  \"hunter\": 2\n}'\nOTHER=1\n";
    let report = secrets("env_file = \"secrets.env\"", &format!("{key}{json}")).unwrap_err();
    assert_data_eq!(
        report,
        str![[r#"
error: the value of `KEY` spans 4 lines; expected one
--> secrets.env:1:1
 = help: encode the value on one line, for example with `base64 -w0`, and decode it in the service; or put it in a file of the artifact

error: the value of `JSON` spans 3 lines; expected one
--> secrets.env:5:1
 = help: encode the value on one line, for example with `base64 -w0`, and decode it in the service; or put it in a file of the artifact
"#]]
        .raw()
    );
}

#[test]
fn missing_env_file_is_refused() {
    assert_data_eq!(
        secrets("env_file = \"secrets.evn\"", "").unwrap_err(),
        str![[r#"
error: cannot read secrets.evn: No such file or directory (os error 2)
 --> web.toml:3:12
  |
3 | env_file = "secrets.evn"
  |            ^^^^^^^^^^^^^
  |
  = help: the path is relative to the playbook
"#]]
        .raw()
    );
}
