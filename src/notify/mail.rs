//! A notification by mail, through this machine's own `sendmail`.

use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;

use super::process;
use crate::config::MailConfig;
use crate::core::journal::notification::Notification;

/// Passes a mail to `sendmail`, which has accepted it when it exits with 0.
pub(super) async fn send(mail: &MailConfig, notice: &Notification) -> Result<(), String> {
    let message = message(mail, notice)?;
    // A name without a slash would be looked for elsewhere.
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

/// The message, with the line ends of this machine.
fn message(mail: &MailConfig, notice: &Notification) -> Result<String, String> {
    let to = mail.to.iter().map(String::as_str).collect::<Vec<_>>();
    let mut message = MessageBuilder::new()
        .to(to)
        .subject(notice.subject())
        .text_body(notice.text())
        // No answer from somebody's holidays; RFC 3834.
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .header("X-Ship-Outcome", Raw::new(notice.occasion.word()));
    if let Some(from) = &mail.from {
        message = message.from(from.as_str());
    }
    let text = message
        .write_to_string()
        .map_err(|why| format!("it cannot be written: {why}"))?;
    Ok(text.replace("\r\n", "\n"))
}
