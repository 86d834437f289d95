//! Notifications by HTTP: as JSON, or in the format of a chat.

use std::error::Error;

use serde_json::{Value, json};

use crate::config::WebhookFormat;
use crate::core::journal::notification::{Notification, NotificationKind};

/// Posts a notification. Errors do not contain the URL.
pub(super) async fn post(
    url: &str,
    format: WebhookFormat,
    notification: &Notification,
) -> Result<(), String> {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ship/", env!("CARGO_PKG_VERSION")))
    };
    // Without any root certificate, a client can still post over plain HTTP.
    let client = builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|why| innermost(&why))?;
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .body(body(format, notification).to_string());
    let response = request.send().await.map_err(|why| innermost(&why))?;
    let status = response.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("the server returned {status}"))
    }
}

/// The innermost cause. The text of reqwest itself would contain the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let is_top = error.source().is_none();
    if is_top {
        "cannot send the request".to_owned()
    } else {
        last.to_string()
    }
}

fn body(format: WebhookFormat, notification: &Notification) -> Value {
    match format {
        WebhookFormat::Json => serde_json::to_value(notification).unwrap_or_default(),
        WebhookFormat::Slack => slack(notification),
        WebhookFormat::Teams => teams(notification),
    }
}

/// The format of Slack, which other chats accept too:
/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
fn slack(notification: &Notification) -> Value {
    // Slack reads text in angle brackets as links and mentions.
    let escaped = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let facts: Vec<_> = notification
        .facts()
        .into_iter()
        .map(|(name, fact)| format!("\n• {name}: {}", escaped(&fact)))
        .collect();
    let text = format!(
        "*{}*\n{}{}",
        escaped(&notification.subject()),
        escaped(&notification.summary),
        facts.concat()
    );
    json!({ "text": text })
}

/// An adaptive card for a Teams workflow.
fn teams(notification: &Notification) -> Value {
    let facts: Vec<_> = notification
        .facts()
        .into_iter()
        .map(|(name, fact)| json!({ "title": name, "value": fact }))
        .collect();
    let colour = match notification.occasion {
        NotificationKind::Success => "Good",
        NotificationKind::Failure => "Attention",
        NotificationKind::Paused => "Warning",
        NotificationKind::Skipped => "Default",
    };
    let subject = json!({
        "type": "TextBlock", "text": notification.subject(), "weight": "Bolder", "size": "Medium", "color": colour, "wrap": true,
    });
    json!({
        "type": "message",
        "summary": notification.subject(),
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    subject,
                    { "type": "TextBlock", "text": notification.summary, "wrap": true },
                    { "type": "FactSet", "facts": facts },
                ],
            },
        }],
    })
}
