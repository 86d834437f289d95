//! `[notify]` and `[metrics]`.

use std::path::PathBuf;
use std::time::Duration;

use ship::config::{
    MailConfig, MetricsConfig, NotifyConfig, SecretUrl, WebhookConfig, WebhookFormat,
};
use ship::core::journal::notification::NotificationKind;
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

fn with(tables: &str) -> Files {
    files().playbook("[rollout]\n", &format!("{tables}\n[rollout]\n"))
}

fn notify(tables: &str) -> NotifyConfig {
    with(tables)
        .project()
        .playbook
        .notify
        .expect("a [notify] table")
}

#[test]
fn config_has_no_notifications_by_default() {
    let playbook = files().project().playbook;
    assert_eq!((playbook.notify, playbook.metrics), (None, None));
}

#[test]
fn notify_has_defaults() {
    let config = notify("[notify.webhook]\nurl_env = \"HOOK\"");
    assert_eq!(config.on, NotificationKind::ALL.into());
    assert_eq!(config.timeout, Duration::from_secs(10));
    assert_eq!((config.mail, config.command), (None, None));
    let url = SecretUrl::Env("HOOK".to_owned());
    assert_eq!(
        config.webhook,
        Some(WebhookConfig {
            url,
            format: WebhookFormat::Json
        })
    );
    let mail = notify("[notify.mail]\nto = [\"ops@example.org\"]").mail;
    let sendmail = PathBuf::from("/usr/sbin/sendmail");
    assert_eq!(
        mail,
        Some(MailConfig {
            to: vec!["ops@example.org".to_owned()],
            from: None,
            sendmail
        })
    );
}

#[test]
fn notify_reads_every_key() {
    let config = notify(
        "[notify]\non = [\"failure\", \"skipped\"]\ntimeout = \"3s\"\ncommand = \"./tell 'two \
         words'\"\n\
         [notify.webhook]\nurl = \"https://hooks.example.org/x?y\"\nformat = \"teams\"\n\
         [notify.mail]\nto = [\"ops@example.org\", \"root\"]\nfrom = \
         \"ship+page@example.org\"\nsendmail = \"bin/sendmail\"",
    );
    assert_eq!(
        config.on,
        [NotificationKind::Failure, NotificationKind::Skipped].into()
    );
    assert_eq!(config.timeout, Duration::from_secs(3));
    assert_eq!(
        config.command,
        Some(vec!["./tell".to_owned(), "two words".to_owned()])
    );
    let url = SecretUrl::Literal("https://hooks.example.org/x?y".to_owned());
    assert_eq!(
        config.webhook,
        Some(WebhookConfig {
            url,
            format: WebhookFormat::Teams
        })
    );
    assert!(
        !format!("{config:?}").contains("hooks.example.org"),
        "the URL is a secret"
    );
    let mail = config.mail.expect("a mail");
    assert_eq!(
        (mail.from.as_deref(), mail.sendmail),
        (Some("ship+page@example.org"), PathBuf::from("bin/sendmail"))
    );
    assert!(
        notify("[notify]\non = []\ncommand = \"./tell\"")
            .on
            .is_empty()
    );
    let url = notify("[notify.webhook]\nurl_file = \"hook.url\"\nformat = \"slack\"")
        .webhook
        .expect("a webhook");
    assert_eq!(
        url,
        WebhookConfig {
            url: SecretUrl::File("hook.url".into()),
            format: WebhookFormat::Slack
        }
    );
    let metrics = with("[metrics]\ntextfile = \"/var/lib/page.prom\"")
        .project()
        .playbook
        .metrics;
    assert_eq!(
        metrics,
        Some(MetricsConfig {
            textfile: "/var/lib/page.prom".into()
        })
    );
}

#[test]
fn all_errors_in_notify_are_reported() {
    let files = with(
        "[notify]\non = [\"failures\"]\ntimeout = \"0s\"\ncommand = \"'tell\"\nevery = 1\n\
         [notify.webhook]\nurl = \"ftp://hooks.example.org/\"\nformat = \"discord\"\n\
         [notify.mail]\nto = [\"ops@example.org, all@example.org\"]\nfrom = \"-oQ/tmp\"\n\
         [metrics]\ntextfile = \"page.txt\"",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `on` must be "failure" or "paused" or "skipped" or "success", not `failures`
  --> web.toml:13:7
   |
13 | on = ["failures"]
   |       ^^^^^^^^^^
   |
   = help: did you mean "failure"?

error: `timeout` must be longer than 0
  --> web.toml:14:11
   |
14 | timeout = "0s"
   |           ^^^^
   |
   = help: for example "1s"

error: `command` has an unclosed quote, or ends in a backslash
  --> web.toml:15:11
   |
15 | command = "'tell"
   |           ^^^^^^^
   |
   = help: quote words as in a shell: run --title 'two words'

error: unknown key `every` in [notify]
  --> web.toml:16:1
   |
16 | every = 1
   | ^^^^^
   |
   = help: valid keys: on, timeout, webhook, mail, command

error: `url` has an unsupported scheme: `ftp`
--> web.toml:18:7
 = help: use https:// or http://

error: `format` must be "json" or "slack" or "teams", not `discord`
  --> web.toml:19:10
   |
19 | format = "discord"
   |          ^^^^^^^^^
   |
   = help: write "json" or "slack" or "teams"

error: `to` is not a valid mail address: `ops@example.org, all@example.org`
  --> web.toml:21:7
   |
21 | to = ["ops@example.org, all@example.org"]
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: for example "ops@example.org"

error: `from` is not a valid mail address: `-oQ/tmp`
  --> web.toml:22:8
   |
22 | from = "-oQ/tmp"
   |        ^^^^^^^^^
   |
   = help: for example "ops@example.org"

error: `textfile` must be a file whose name ends in `.prom`
  --> web.toml:24:12
   |
24 | textfile = "page.txt"
   |            ^^^^^^^^^^
   |
   = help: the textfile collector ignores other files
"#]]
        .raw()
    );
}

#[test]
fn notify_needs_recipients_and_a_url() {
    let tables =
        "[notify]\n[notify.mail]\nto = []\n[notify.webhook]\nformat = \"slack\"\n[metrics]";
    assert_data_eq!(
        with(tables).report(),
        str![[r#"
error: `to` must not be empty
  --> web.toml:14:6
   |
14 | to = []
   |      ^^
   |
   = help: for example: to = ["ops@example.org"]

error: [notify.webhook] has no URL
  --> web.toml:15:1
   |
15 | [notify.webhook]
   | ^^^^^^^^^^^^^^^^
   |
   = help: for example: url_env = "WEBHOOK_URL"

error: missing key `textfile` in [metrics]
  --> web.toml:17:1
   |
17 | [metrics]
   | ^^^^^^^^^
   |
   = help: for example: textfile = "/var/lib/node_exporter/ship_testpage.prom"
"#]]
        .raw()
    );
}

#[test]
fn notify_without_a_recipient_is_refused() {
    assert_data_eq!(
        with("[notify]\ntimeout = \"3s\"").report(),
        str![[r#"
error: [notify] has no recipient
  --> web.toml:12:1
   |
12 | [notify]
   | ^^^^^^^^
   |
   = help: add [notify.webhook], [notify.mail] or command = "…"
"#]]
        .raw()
    );
    let two = "[notify.webhook]\nurl_env = \"HOOK\"\nurl_file = \"hook.url\"";
    assert_data_eq!(
        with(two).report(),
        str![[r#"
error: [notify.webhook] has more than one of `url`, `url_env` and `url_file`
  --> web.toml:12:1
   |
12 | [notify.webhook]
   | ^^^^^^^^^^^^^^^^
   |
   = help: keep one of them
"#]]
        .raw()
    );
}
