//! Templates.

use snapbox::{IntoData, assert_data_eq, str};

use super::files;

#[test]
fn typo_in_a_template_is_underlined() {
    let files = files().playbook("{{ port }}", "{{ prot }}");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: unknown variable `prot`
 --> web.toml:4:28
  |
4 | command = "./web --port {{ prot }}"
  |                            ^^^^
  |
  = help: did you mean `{{ port }}`?
"#]]
        .raw()
    );
}

#[test]
fn unclosed_template_is_refused() {
    let files = files().playbook(r#"VERSION = "{{ version }}""#, r#"VERSION = "{{ version""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: not a valid template: unexpected end of input, expected end of variable block
 --> web.toml:7:11
  |
7 | VERSION = "{{ version"
  |           ^^^^^^^^^^^^
  |
  = help: write variables as "{{ version }}"
"#]]
        .raw()
    );
}

#[test]
fn label_that_a_host_lacks_is_refused() {
    let files = files().playbook(
        r#"VERSION = "{{ version }}""#,
        r#"ZONE = "{{ labels.zone }}""#,
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: host `web2` has no label `zone`
 --> web.toml:7:19
  |
7 | ZONE = "{{ labels.zone }}"
  |                   ^^^^
  |
  = help: add the label to every host in the inventory: labels = { zone = "…" }
"#]]
        .raw()
    );
}

#[test]
fn source_may_use_only_the_version() {
    let files = files().playbook("web-{{ version }}", "web-{{ host }}");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `source` is not a valid template: unknown variable `host`
 --> web.toml:9:18
  |
9 | source = "web-{{ host }}.tar.gz"
  |                  ^^^^
  |
  = help: valid variables: version
"#]]
        .raw()
    );
}

#[test]
fn endless_template_is_refused() {
    let files = files().playbook(
        r#"VERSION = "{{ version }}""#,
        r#"X = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}""#,
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: the template runs too long
 --> web.toml:7:5
  |
7 | X = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}"
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write variables as "{{ version }}"
"#]]
        .raw()
    );
}
