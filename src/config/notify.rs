//! `[notify]`: notifications about a run; `[metrics]`: the metrics file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::journal::notification::NotificationKind;

use super::command::command;
use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::local_path::resolve_relative;
use super::secret_url::{SecretUrl, UrlForm};
use super::toml_tree::Node;
use super::value::{Faults, ValueError, choice, line, positive_duration, quoted};

const TIMEOUT: Duration = Duration::from_secs(10);
const SENDMAIL: &str = "/usr/sbin/sendmail";
const WEBHOOK_URL: UrlForm = UrlForm {
    table: "[notify.webhook]",
    example: "url_env = \"WEBHOOK_URL\"",
    help: "use https:// or http://",
    check: webhook_url,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    pub on: BTreeSet<NotificationKind>,
    /// Time limit of one notification.
    pub timeout: Duration,
    pub webhook: Option<WebhookConfig>,
    pub mail: Option<MailConfig>,
    /// A command on this machine, split into words.
    pub command: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// A secret: everyone who knows it can post there.
    pub url: SecretUrl,
    pub format: WebhookFormat,
}

/// The format of the message to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookFormat {
    /// The fields of the notification.
    Json,
    /// For Slack, Mattermost and compatible servers.
    Slack,
    /// An adaptive card for Microsoft Teams.
    Teams,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailConfig {
    pub to: Vec<String>,
    /// The sender; `None` for the user that `sendmail` assumes.
    pub from: Option<String>,
    pub sendmail: PathBuf,
}

/// Reads `[notify]`.
pub(super) fn read(fields: &Fields<'_>, dir: &Path, sink: &Sink) -> Option<NotifyConfig> {
    let words = choice(&[
        ("failure", NotificationKind::Failure),
        ("paused", NotificationKind::Paused),
        ("skipped", NotificationKind::Skipped),
        ("success", NotificationKind::Success),
    ]);
    let is_given = fields.key_place("on").is_some();
    let on = fields.each("on", "on = [\"failure\", \"paused\"]", |node| {
        words(node).map(Some)
    });
    let on = if is_given {
        on
    } else {
        Some(NotificationKind::ALL.to_vec())
    };
    let timeout = fields.optional_or("timeout", TIMEOUT, positive_duration);
    let has = |key| fields.key_place(key).is_some();
    let (has_webhook, has_mail) = (has("webhook"), has("mail"));
    let webhook = fields.table_or_empty("webhook", "[notify.webhook]");
    let mail = fields.table_or_empty("mail", "[notify.mail]");
    let command = fields.optional("command", command);
    fields.finish();
    let webhook = if has_webhook {
        webhook
            .and_then(|fields| read_webhook(&fields, dir, sink))
            .map(Some)
    } else {
        Some(None)
    };
    let mail = if has_mail {
        mail.and_then(|fields| read_mail(&fields, dir)).map(Some)
    } else {
        Some(None)
    };
    if !has_webhook && !has_mail && !has("command") {
        let diagnostic = Diagnostic::at(fields.place(), "[notify] has no recipient");
        sink.push(diagnostic.help("add [notify.webhook], [notify.mail] or command = \"…\""));
        return None;
    }
    Some(NotifyConfig {
        on: on?.into_iter().collect(),
        timeout: timeout?,
        webhook: webhook?,
        mail: mail?,
        command: command?,
    })
}

fn read_webhook(fields: &Fields<'_>, dir: &Path, sink: &Sink) -> Option<WebhookConfig> {
    let url = SecretUrl::read(fields, dir, &WEBHOOK_URL, sink);
    let formats = choice(&[
        ("json", WebhookFormat::Json),
        ("slack", WebhookFormat::Slack),
        ("teams", WebhookFormat::Teams),
    ]);
    let format = fields.optional_or("format", WebhookFormat::Json, formats);
    fields.finish();
    Some(WebhookConfig {
        url: url?,
        format: format?,
    })
}

/// Validates the URL of a webhook.
///
/// # Errors
/// The problem as a fragment, without the URL.
pub fn webhook_url(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text.to_owned()),
        Ok(url) => Err(format!(
            "has an unsupported scheme: {}",
            quoted(url.scheme())
        )),
        Err(why) => Err(format!("is not a URL: {why}")),
    }
}

fn read_mail(fields: &Fields<'_>, dir: &Path) -> Option<MailConfig> {
    let example = "to = [\"ops@example.org\"]";
    let to = fields.list("to", example, address);
    let is_empty = to.as_ref().is_some_and(Vec::is_empty);
    if is_empty {
        fields.report(
            "to",
            ValueError::new("must not be empty").help(format!("for example: {example}")),
        );
    }
    let from = fields.optional("from", address);
    let sendmail = fields.optional_or("sendmail", PathBuf::from(SENDMAIL), |node| {
        resolve_relative(dir, node)
    });
    fields.finish();
    let to = to?.into_iter().map(|to| to.value).collect();
    (!is_empty).then_some(())?;
    Some(MailConfig {
        to,
        from: from?,
        sendmail: sendmail?,
    })
}

/// Reads an address for a mail header: `ops@example.org`, or a local user. Other forms are
/// rejected, so that an address cannot add headers or recipients.
fn address(node: &Node) -> Result<String, Faults> {
    let text = line(node)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@.!#$%&'*+-/=?^_`{|}~".contains(c);
    if !text.starts_with('-') && text.chars().all(is_plain) && text.matches('@').count() <= 1 {
        return Ok(text);
    }
    Err(
        ValueError::new(format!("is not a valid mail address: {}", quoted(&text)))
            .help("for example \"ops@example.org\"")
            .into(),
    )
}

/// The metrics file that ship writes after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The file, in Prometheus' text format.
    pub textfile: PathBuf,
}

/// Reads `[metrics]`.
pub(super) fn read_metrics(fields: &Fields<'_>, dir: &Path) -> Option<MetricsConfig> {
    let example = "textfile = \"/var/lib/node_exporter/ship_testpage.prom\"";
    let textfile = fields.required("textfile", example, |node| prom_file(dir, node));
    fields.finish();
    Some(MetricsConfig {
        textfile: textfile?,
    })
}

/// The collector only reads files with this ending.
fn prom_file(dir: &Path, node: &Node) -> Result<PathBuf, Faults> {
    let path = resolve_relative(dir, node)?;
    if path
        .extension()
        .is_some_and(|extension| extension == "prom")
    {
        return Ok(path);
    }
    Err(ValueError::new("must be a file whose name ends in `.prom`")
        .help("the textfile collector ignores other files")
        .into())
}
