//! Resolves a channel to a version.

use std::path::Path;

use backon::ExponentialBuilder;
use serde_json::Value;

use super::http::{SmallDocument, fetch_small, source_name};
use crate::artifact::fetch_error::FetchError;
use crate::config::{Channel, Source, check_version};
use crate::core::release::version;

const BODY_BYTES_MAX: u64 = 64 << 10;
const SHOWN_CHARS_MAX: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {why}; {help}")]
pub struct ChannelError {
    /// The path or URL of the channel, without secrets.
    location: String,
    why: String,
    help: &'static str,
}

/// What is wrong with a document, and the hint.
type DocumentFault = (String, &'static str);

/// Resolves a channel to its current version, within half a minute.
///
/// # Errors
/// If the channel cannot be read, or does not contain a version.
pub async fn resolve(
    channel: &Channel,
    retries: ExponentialBuilder,
) -> Result<String, ChannelError> {
    let (location, found) = match channel {
        Channel::Text(source) => (
            source_name(source),
            document(source, retries)
                .await
                .and_then(|bytes| parse_text(&bytes)),
        ),
        Channel::Json { source, pointer } => (
            source_name(source),
            document(source, retries)
                .await
                .and_then(|bytes| parse_json(&bytes, pointer)),
        ),
        Channel::Newest {
            directory,
            prefix,
            suffix,
        } => (
            directory.display().to_string(),
            newest(directory, prefix, suffix),
        ),
    };
    let checked = found.and_then(|version| match check_version(&version) {
        Ok(()) => Ok(version),
        Err(why) => Err((
            format!("the content is not a valid version: it {why}"),
            "check the job that publishes the channel",
        )),
    });
    checked.map_err(|(why, help)| ChannelError {
        location,
        why,
        help,
    })
}

async fn document(source: &Source, retries: ExponentialBuilder) -> Result<Vec<u8>, DocumentFault> {
    match fetch_small(source, BODY_BYTES_MAX, retries).await {
        Ok(SmallDocument::Bytes(bytes)) => Ok(bytes),
        Ok(SmallDocument::Absent(why)) => Err((why, "publish it, or correct the channel")),
        Err(FetchError { why, help, .. }) => Err((why, help)),
    }
}

const PLAIN_TEXT_HINT: &str =
    "it must contain the version, optionally followed by a few words on the same line";

/// Returns the first word of a text, if it is a version.
fn parse_text(bytes: &[u8]) -> Result<String, DocumentFault> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| ("it is not text".to_owned(), PLAIN_TEXT_HINT))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('<') {
        return Err((
            "it is an HTML page, not a version".to_owned(),
            "check the URL",
        ));
    }
    let mut words = text.split_whitespace();
    let first = words.next().ok_or_else(|| {
        (
            "it is empty".to_owned(),
            "check the job that publishes the channel",
        )
    })?;
    let is_version = first.chars().any(|c| c.is_ascii_digit()) || words.next().is_none();
    if text.lines().count() > 1 || !is_version {
        let beginning: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        return Err((
            format!(
                "it is not a version; it starts with \"{}\"",
                beginning.escape_debug()
            ),
            PLAIN_TEXT_HINT,
        ));
    }
    Ok(first.to_owned())
}

fn parse_json(bytes: &[u8], pointer: &str) -> Result<String, DocumentFault> {
    let help = "check that `value` points to the version";
    let document: Value = serde_json::from_slice(bytes)
        .map_err(|why| (format!("it is not valid JSON: {why}"), help))?;
    match document.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.trim().to_owned()),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.to_string()),
        Some(Value::Number(_)) => Err((
            format!("the value at {pointer} is a number, which may have lost digits"),
            "publish it as a string",
        )),
        Some(_) => Err((format!("the value at {pointer} is not a string"), help)),
        None => Err((format!("it has no value at {pointer}"), help)),
    }
}

/// The newest version among the file names.
fn newest(directory: &Path, prefix: &str, suffix: &str) -> Result<String, DocumentFault> {
    let entries = std::fs::read_dir(directory)
        .map_err(|why| (why.to_string(), "correct the path of the channel"))?;
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let versions = names.filter_map(|name| {
        let version = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        check_version(version).is_ok().then(|| version.to_owned())
    });
    versions
        .max_by(|a, b| version::compare(a, b).then_with(|| a.cmp(b)))
        .ok_or_else(|| {
            (
                format!("no file is named {prefix}VERSION{suffix}"),
                "publish one, or correct the channel",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_text_is_a_version_and_optionally_a_few_words() {
        let version = |text: &str| parse_text(text.as_bytes()).ok();
        assert_eq!(version("0.9\n"), Some("0.9".into()));
        assert_eq!(version("\u{feff}0.9 built at noon\r\n"), Some("0.9".into()));
        assert_eq!(version("main"), Some("main".into()));
        for wrong in [
            "",
            " \n",
            "<!DOCTYPE html>",
            "The build is broken",
            "0.9\n0.8\n",
            "Not\nfound",
        ] {
            assert_eq!(version(wrong), None, "{wrong:?}");
        }
    }
}
