//! `[[hooks]]` and `[[migrations]]`.

use std::time::Duration;

use ship::config::{definition, release_id};
use ship::core::release::hook::{Hook, HookPoint, HookSite};
use ship::core::release::migration::{Migration, MigrationKind};
use ship::core::release::{Artifact, ArtifactForm, Definition};
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

/// The files with these lines at the playbook's end, from line 14 on.
fn with(lines: &str) -> Files {
    files().playbook("max_surge = 1\n", &format!("max_surge = 1\n{lines}"))
}

fn hooks(lines: &str) -> Vec<Hook> {
    with(lines).project().playbook.hooks
}

fn migrations(lines: &str) -> Vec<Migration> {
    with(lines).project().playbook.migrations
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn config_has_no_hooks_by_default() {
    let playbook = files().project().playbook;
    assert_eq!(
        (playbook.hooks, playbook.migrations),
        (Vec::new(), Vec::new())
    );
}

#[test]
fn slot_hook_is_a_template_and_runs_on_the_host() {
    let lines =
        "[[hooks]]\non = \"before_start\"\ncommand = \"./warm-cache --port {{ port }} 'a b'\"\n";
    let expected = Hook {
        on: HookPoint::BeforeStart,
        at: HookSite::Host,
        command: words(&["./warm-cache", "--port", "{{ port }}", "a b"]),
        timeout: Duration::from_mins(1),
    };
    assert_eq!(hooks(lines), [expected]);
}

#[test]
fn rollout_hook_may_use_the_version() {
    let hook = |on, at, word: &str| Hook {
        on,
        at,
        command: words(&["./tell", word]),
        timeout: Duration::from_secs(5),
    };
    let lines = [
        "before_all",
        "after_all\"\nat = \"host",
        "on_success",
        "on_failure",
    ]
    .map(|on| {
        format!(
            "[[hooks]]\non = \"{on}\"\ncommand = \"./tell {{{{ version }}}}\"\ntimeout = \"5s\"\n"
        )
    });
    assert_eq!(
        hooks(&lines.concat()),
        [
            hook(HookPoint::BeforeAll, HookSite::Control, "0.8"),
            hook(HookPoint::AfterAll, HookSite::Host, "0.8"),
            hook(HookPoint::OnSuccess, HookSite::Control, "0.8"),
            hook(HookPoint::OnFailure, HookSite::Control, "0.8"),
        ]
    );
}

#[test]
fn all_errors_in_hooks_are_reported() {
    let lines = r#"[[hooks]]
on = "before_starting"
command = "./a"
[[hooks]]
on = "before_stop"
command = "./a {{ prot }}"
at = "control"
[[hooks]]
on = "on_failure"
command = "./a {{ port }}"
timeout = "0s"
[[hooks]]
on = "after_start"
cmd = "./a"
[[hooks]]
on = "on_success"
command = "./a"
at = "host"
"#;
    assert_data_eq!(with(lines).report(), str![[r#"
error: `on` must be "before_all" or "after_all" or "before_start" or "after_start" or "before_stop" or "after_stop" or "on_success" or "on_failure", not `before_starting`
  --> web.toml:15:6
   |
15 | on = "before_starting"
   |      ^^^^^^^^^^^^^^^^^
   |
   = help: did you mean "before_start"?

error: unknown variable `prot`
  --> web.toml:19:19
   |
19 | command = "./a {{ prot }}"
   |                   ^^^^
   |
   = help: did you mean `{{ port }}`?

error: `at` can only be used with before_all and after_all: before_stop always runs on the host of the instance
  --> web.toml:20:6
   |
20 | at = "control"
   |      ^^^^^^^^^
   |
   = help: leave it out

error: `command` is not a valid template: unknown variable `port`
  --> web.toml:23:19
   |
23 | command = "./a {{ port }}"
   |                   ^^^^
   |
   = help: valid variables: version

error: `timeout` must be longer than 0
  --> web.toml:24:11
   |
24 | timeout = "0s"
   |           ^^^^
   |
   = help: for example "1s"

error: missing key `command` in [[hooks]]
  --> web.toml:25:1
   |
25 | [[hooks]]
   | ^^^^^^^^^
   |
   = help: for example: command = "./warm-cache --port {{ port }}"

error: unknown key `cmd` in [[hooks]]
  --> web.toml:27:1
   |
27 | cmd = "./a"
   | ^^^
   |
   = help: valid keys: on, command, timeout, at

error: `at` can only be used with before_all and after_all: on_success always runs on this machine
  --> web.toml:31:6
   |
31 | at = "host"
   |      ^^^^^^
   |
   = help: leave it out
"#]].raw());
}

#[test]
fn hook_templates_are_checked() {
    let lines = "[[hooks]]\non = \"after_stop\"\ncommand = \"./a {{ labels.zone }}\"\n";
    assert_data_eq!(
        with(lines).report(),
        str![[r#"
error: host `web2` has no label `zone`
  --> web.toml:16:26
   |
16 | command = "./a {{ labels.zone }}"
   |                          ^^^^
   |
   = help: add the label to every host in the inventory: labels = { zone = "…" }
"#]]
        .raw()
    );
}

#[test]
fn migration_needs_id_kind_and_command() {
    let lines = r#"soak = "20m"
[[migrations]]
id = "2026-11-add-email"
kind = "expand"
command = "./migrate up {{ version }}"
[[migrations]]
id = "2026-11-drop-mail"
kind = "contract"
command = "./migrate drop"
timeout = "1h"
[[migrations]]
id = "b"
kind = "contract"
command = "b"
soak = "1m"
[[migrations]]
id = "c"
kind = "contract"
command = "c"
manual = true
"#;
    let expand = Migration {
        id: "2026-11-add-email".into(),
        kind: MigrationKind::Expand,
        command: words(&["./migrate", "up", "0.8"]),
        timeout: Duration::from_mins(10),
        soak: None,
        manual: false,
    };
    let contract = |id: &str, command: &[&str]| Migration {
        id: id.into(),
        kind: MigrationKind::Contract,
        command: words(command),
        ..expand.clone()
    };
    let hour = Duration::from_hours(1);
    let drop_mail = contract("2026-11-drop-mail", &["./migrate", "drop"]);
    assert_eq!(
        migrations(lines),
        [
            expand.clone(),
            Migration {
                timeout: hour,
                soak: Some(hour / 3),
                ..drop_mail
            },
            Migration {
                soak: Some(hour / 60),
                ..contract("b", &["b"])
            },
            Migration {
                manual: true,
                ..contract("c", &["c"])
            },
        ]
    );
}

#[test]
fn contract_without_a_soak_is_refused() {
    let lines = "[[migrations]]\nid = \"a\"\nkind = \"contract\"\ncommand = \"a\"\n";
    assert_data_eq!(
        with(lines).report(),
        str![[r#"
error: `soak` is missing for a contract migration, which cannot be undone
  --> web.toml:14:1
   |
14 | [[migrations]]
   | ^^^^^^^^^^^^^^
   |
   = help: for example: soak = "1h", here or in [rollout]; or manual = true
"#]]
        .raw()
    );
}

#[test]
fn all_errors_in_migrations_are_reported() {
    let lines = r#"[[migrations]]
id = ".a"
kind = "extend"
command = "./a {{ port }}"
[[migrations]]
id = "a"
kind = "expand"
command = "a"
soak = "1m"
[[migrations]]
id = "b"
kind = "contract"
command = "b"
soak = "1m"
manual = true
[[migrations]]
id = "c"
kind = "expand"
command = "c"
[[migrations]]
id = "c"
kind = "expand"
command = "d"
"#;
    assert_data_eq!(with(lines).report(), str![[r#"
error: `id` cannot begin with `.`: `.a`
  --> web.toml:15:6
   |
15 | id = ".a"
   |      ^^^^
   |
   = help: the id of a migration may have up to 100 characters: letters, digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`

error: `kind` must be "expand" or "contract", not `extend`
  --> web.toml:16:8
   |
16 | kind = "extend"
   |        ^^^^^^^^
   |
   = help: did you mean "expand"?

error: `command` is not a valid template: unknown variable `port`
  --> web.toml:17:19
   |
17 | command = "./a {{ port }}"
   |                   ^^^^
   |
   = help: valid variables: version

error: `soak` can only be used with kind = "contract"
  --> web.toml:22:8
   |
22 | soak = "1m"
   |        ^^^^
   |
   = help: leave it out: an expand migration runs before the first new instance

error: `soak` cannot be used together with `manual`
  --> web.toml:27:8
   |
27 | soak = "1m"
   |        ^^^^
   |
   = help: leave out one of the two

error: two migrations have the id `c`
  --> web.toml:34:6
   |
30 | id = "c"
   |      --- first used here
...
34 | id = "c"
   |      ^^^
   |
   = help: rename one: a host records ids, and would skip the second migration as done
"#]].raw());
}

#[test]
fn hooks_and_migrations_are_part_of_the_release() {
    let artifact = || Artifact {
        form: ArtifactForm::TarGz,
        sha256: "ab".repeat(32),
        size_bytes: 7,
        strip_components: 0,
    };
    let released = |files: &Files| definition(&files.project().playbook, artifact(), None);
    let hook = with("[[hooks]]\non = \"before_all\"\ncommand = \"a\"\n");
    let migration =
        with("[[migrations]]\nid = \"a\"\nkind = \"contract\"\nmanual = true\ncommand = \"a\"\n");
    let [plain, hook, migration] = [&files(), &hook, &migration].map(released);
    let [a, b, c] = [&plain, &hook, &migration].map(release_id);
    assert!(a != b && b != c && a != c);
    for definition in [hook, migration] {
        let json = serde_json::to_string(&definition).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Definition>(&json).expect("a definition"),
            definition
        );
    }
}
