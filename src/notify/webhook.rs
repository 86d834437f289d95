//! A notification by http: with its own fields, or in a chat's form.

use std::error::Error;

use serde_json::{Value, json};

use crate::config::WebhookFormat;
use crate::core::journal::notification::{Notification, NotificationKind};

/// Posts a notification. Errors do not contain the URL.
pub(super) async fn post(
    url: &str,
    format: WebhookFormat,
    notice: &Notification,
) -> Result<(), String> {
    // An error says that there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ship/", env!("CARGO_PKG_VERSION")))
    };
    // A machine without any root certificate can still post by http.
    let client = builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|why| innermost(&why))?;
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .body(body(format, notice).to_string());
    let response = request.send().await.map_err(|why| innermost(&why))?;
    let status = response.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("the server answers {status}"))
    }
}

/// The last cause. reqwest's own text would contain the whole URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let is_top = error.source().is_none();
    if is_top {
        "it could not be asked".to_owned()
    } else {
        last.to_string()
    }
}

fn body(format: WebhookFormat, notice: &Notification) -> Value {
    match format {
        WebhookFormat::Json => serde_json::to_value(notice).unwrap_or_default(),
        WebhookFormat::Slack => slack(notice),
        WebhookFormat::Teams => teams(notice),
    }
}

/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>, which others
/// understand too.
fn slack(notice: &Notification) -> Value {
    // Slack's own three; anything else in angle brackets would be a link or call everybody.
    let escaped = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let facts: Vec<_> = notice
        .facts()
        .into_iter()
        .map(|(name, fact)| format!("\n• {name}: {}", escaped(&fact)))
        .collect();
    let text = format!(
        "*{}*\n{}{}",
        escaped(&notice.subject()),
        escaped(&notice.summary),
        facts.concat()
    );
    json!({ "text": text })
}

/// An adaptive card for the workflows that replaced Teams' connectors.
fn teams(notice: &Notification) -> Value {
    let facts: Vec<_> = notice
        .facts()
        .into_iter()
        .map(|(name, fact)| json!({ "title": name, "value": fact }))
        .collect();
    let colour = match notice.occasion {
        NotificationKind::Success => "Good",
        NotificationKind::Failure => "Attention",
        NotificationKind::Paused => "Warning",
        NotificationKind::Skipped => "Default",
    };
    let subject = json!({
        "type": "TextBlock", "text": notice.subject(), "weight": "Bolder", "size": "Medium", "color": colour, "wrap": true,
    });
    json!({
        "type": "message",
        "summary": notice.subject(),
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    subject,
                    { "type": "TextBlock", "text": notice.summary, "wrap": true },
                    { "type": "FactSet", "facts": facts },
                ],
            },
        }],
    })
}
