//! Floor 2: notifies people and programs about a run. A failure to notify changes nothing about the
//! run: each notification has a time limit, and ship notes which of them failed.

mod mail;
mod process;
mod textfile;
mod webhook;

use std::path::Path;
use std::time::Duration;

use crate::config::{NotifyConfig, WebhookConfig, WebhookUrl, webhook_url};
use crate::core::journal::notification::Notification;
use crate::core::time::Human;

pub use textfile::write as write_textfile;

/// Tells all that are to be told, at the same time. `dir` is where a command begins. What went
/// wrong, a line each.
pub async fn deliver(config: &NotifyConfig, notice: &Notification, dir: &Path) -> Vec<String> {
    if !config.on.contains(&notice.occasion) {
        return Vec::new();
    }
    let webhook = async {
        let webhook = config.webhook.as_ref()?;
        let told = async {
            let url = url_of(webhook)?;
            webhook::post(&url, webhook.format, notice).await
        };
        failed("[notify.webhook]", within(config.timeout, told).await)
    };
    let mail = async {
        let mail = config.mail.as_ref()?;
        failed(
            "[notify.mail]",
            within(config.timeout, mail::send(mail, notice)).await,
        )
    };
    let command = async {
        let words = config.command.as_ref()?;
        failed(
            "`command` in [notify]",
            within(config.timeout, process::tell(words, notice, dir)).await,
        )
    };
    let (webhook, mail, command) = futures::join!(webhook, mail, command);
    [webhook, mail, command].into_iter().flatten().collect()
}

async fn within(
    timeout: Duration,
    told: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    tokio::time::timeout(timeout, told)
        .await
        .unwrap_or_else(|_| {
            Err(format!(
                "it took longer than {} (`timeout` in [notify])",
                Human(timeout)
            ))
        })
}

fn failed(whom: &str, told: Result<(), String>) -> Option<String> {
    told.err()
        .map(|why| format!("note: {whom} told nobody: {why}"))
}

/// Reads a webhook's URL when it is needed.
fn url_of(webhook: &WebhookConfig) -> Result<String, String> {
    let (text, of) = match &webhook.url {
        WebhookUrl::Literal(url) => return Ok(url.clone()),
        WebhookUrl::Env(name) => {
            let text = std::env::var(name)
                .map_err(|_| format!("{name} (`url_env`) is not in the environment"))?;
            (text, name.clone())
        }
        WebhookUrl::File(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|why| format!("cannot read {} (`url_file`): {why}", path.display()))?;
            (text, path.display().to_string())
        }
    };
    webhook_url(text.trim()).map_err(|why| format!("what {of} holds {why}"))
}

/// The texts of a configuration that must not be shown.
pub fn secrets_of(config: &NotifyConfig) -> Vec<String> {
    config
        .webhook
        .iter()
        .filter_map(|webhook| url_of(webhook).ok())
        .collect()
}
