//! Floor 2: notifies people and programs about a run. A failure to notify changes nothing about the
//! run: each notification has a time limit, and ship notes which of them failed.

mod mail;
mod process;
mod textfile;
mod webhook;

use std::path::Path;
use std::time::Duration;

use crate::config::{NotifyConfig, WebhookConfig, webhook_url};
use crate::core::journal::notification::Notification;
use crate::core::time::Human;

pub use textfile::write as write_textfile;

/// Sends a notification to all configured receivers at the same time. `dir` is the working directory
/// of a command. Returns a warning for each receiver that could not be notified.
pub async fn deliver(
    config: &NotifyConfig,
    notification: &Notification,
    dir: &Path,
) -> Vec<String> {
    if !config.on.contains(&notification.occasion) {
        return Vec::new();
    }
    let webhook = async {
        let webhook = config.webhook.as_ref()?;
        let post = async {
            let url = url_of(webhook)?;
            webhook::post(&url, webhook.format, notification).await
        };
        failed("[notify.webhook]", within(config.timeout, post).await)
    };
    let mail = async {
        let mail = config.mail.as_ref()?;
        failed(
            "[notify.mail]",
            within(config.timeout, mail::send(mail, notification)).await,
        )
    };
    let command = async {
        let words = config.command.as_ref()?;
        failed(
            "`command` in [notify]",
            within(
                config.timeout,
                process::run_command(words, notification, dir),
            )
            .await,
        )
    };
    let (webhook, mail, command) = futures::join!(webhook, mail, command);
    [webhook, mail, command].into_iter().flatten().collect()
}

async fn within(
    timeout: Duration,
    delivery: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    tokio::time::timeout(timeout, delivery)
        .await
        .unwrap_or_else(|_| {
            Err(format!(
                "timed out after {} (`timeout` in [notify])",
                Human(timeout)
            ))
        })
}

/// The warning about a receiver that could not be notified.
fn failed(receiver: &str, result: Result<(), String>) -> Option<String> {
    let why = result.err()?;
    Some(format!(
        "warning: cannot notify {receiver}: {why} (the rollout is not affected)"
    ))
}

/// The URL of a webhook, read from the environment or a file.
fn url_of(webhook: &WebhookConfig) -> Result<String, String> {
    webhook.url.resolve(webhook_url)
}

/// The secrets of the configuration, for the redactor.
pub fn secrets_of(config: &NotifyConfig) -> Vec<String> {
    config
        .webhook
        .iter()
        .filter_map(|webhook| url_of(webhook).ok())
        .collect()
}
