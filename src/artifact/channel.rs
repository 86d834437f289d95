//! The version that a channel stands for now.

use std::path::Path;

use backon::ExponentialBuilder;
use serde_json::Value;

use super::web::{SmallDocument, shown, small};
use crate::artifact::trouble::FetchError;
use crate::config::{Channel, Source, check_version};
use crate::core::release::version;

const BODY_BYTES_MAX: u64 = 64 << 10;
const SHOWN_CHARS_MAX: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}; {help}")]
pub struct ChannelError {
    /// The place of the channel, without secrets.
    place: String,
    why: String,
    help: &'static str,
}

/// What a document lacks, and the hint.
type DocumentFault = (String, &'static str);

/// Looks where a channel's version is to be found. Ends within half a minute.
///
/// # Errors
/// When nothing can be read there, or what is there is no version.
pub async fn resolve(
    channel: &Channel,
    retries: ExponentialBuilder,
) -> Result<String, ChannelError> {
    let (place, found) = match channel {
        Channel::Text(source) => (
            shown(source),
            document(source, retries)
                .await
                .and_then(|bytes| of_text(&bytes)),
        ),
        Channel::Json { source, pointer } => (
            shown(source),
            document(source, retries)
                .await
                .and_then(|bytes| of_json(&bytes, pointer)),
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
            format!("what it says is no version: it {why}"),
            "see what publishes it",
        )),
    });
    checked.map_err(|(why, help)| ChannelError { place, why, help })
}

async fn document(source: &Source, retries: ExponentialBuilder) -> Result<Vec<u8>, DocumentFault> {
    match small(source, BODY_BYTES_MAX, retries).await {
        Ok(SmallDocument::Bytes(bytes)) => Ok(bytes),
        Ok(SmallDocument::Absent(why)) => Err((why, "publish it, or correct the channel")),
        Err(FetchError { why, help, .. }) => Err((why, help)),
    }
}

const PLAIN: &str = "it must hold the version, and no more than a few words behind it";

/// The first word of a text that begins with a version.
fn of_text(bytes: &[u8]) -> Result<String, DocumentFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| ("it is no text".to_owned(), PLAIN))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('<') {
        return Err((
            "it is a page in HTML, and no version".to_owned(),
            "see whether the URL is the right one",
        ));
    }
    let mut words = text.split_whitespace();
    let first = words
        .next()
        .ok_or_else(|| ("it is empty".to_owned(), "see what publishes it"))?;
    let is_version = first.chars().any(|c| c.is_ascii_digit()) || words.next().is_none();
    if text.lines().count() > 1 || !is_version {
        let begin: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        return Err((
            format!(
                "it is no version, but begins with \"{}\"",
                begin.escape_debug()
            ),
            PLAIN,
        ));
    }
    Ok(first.to_owned())
}

fn of_json(bytes: &[u8], pointer: &str) -> Result<String, DocumentFault> {
    let help = "see whether `value` leads to the version";
    let document: Value =
        serde_json::from_slice(bytes).map_err(|why| (format!("it is no JSON: {why}"), help))?;
    match document.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.trim().to_owned()),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.to_string()),
        Some(Value::Number(_)) => Err((
            format!("the value at {pointer} is a number that may have lost a digit"),
            "write it in quotes there",
        )),
        Some(_) => Err((format!("the value at {pointer} is no text"), help)),
        None => Err((format!("it has no value at {pointer}"), help)),
    }
}

/// The newest version among the names of the files.
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
                format!("no file there is named {prefix}VERSION{suffix}"),
                "publish one, or correct the channel",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_version_and_perhaps_a_few_words() {
        let version = |text: &str| of_text(text.as_bytes()).ok();
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
