//! Notifications by mail through the `sendmail` of this machine.

use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;

use super::process;
use crate::config::MailConfig;
use crate::core::journal::notification::Notification;

/// Passes a mail to `sendmail`, which accepts it by exiting with 0.
pub(super) async fn send(mail: &MailConfig, notification: &Notification) -> Result<(), String> {
    let message = message(mail, notification)?;
    // A name without a slash would be searched on PATH.
    let sendmail = std::path::absolute(&mail.sendmail)
        .unwrap_or_else(|_| mail.sendmail.clone())
        .display()
        .to_string();
    process::feed(
        &[sendmail, "-t".to_owned(), "-i".to_owned()],
        message.as_bytes(),
        &[],
        None,
    )
    .await
}

/// The message with `\n` line breaks, which `sendmail` expects.
fn message(mail: &MailConfig, notification: &Notification) -> Result<String, String> {
    let to = mail.to.iter().map(String::as_str).collect::<Vec<_>>();
    let mut message = MessageBuilder::new()
        .to(to)
        .subject(notification.subject())
        .text_body(notification.text())
        // Suppresses automatic replies (RFC 3834).
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .header("X-Ship-Outcome", Raw::new(notification.occasion.word()));
    if let Some(from) = &mail.from {
        message = message.from(from.as_str());
    }
    let text = message
        .write_to_string()
        .map_err(|why| format!("cannot write the message: {why}"))?;
    Ok(text.replace("\r\n", "\n"))
}
