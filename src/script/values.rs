//! Parses the values of a report's lines.

use crate::core::ids::{ActionId, Epoch, ReleaseId};
use crate::core::printable::strip_controls;
use crate::script::end::ScriptEnd;
use crate::script::unreadable::Unreadable;
use std::time::Duration;

pub(super) fn end(line: &str, value: &str) -> Result<ScriptEnd, Unreadable> {
    let (word, text) = value.split_once(' ').unwrap_or((value, ""));
    match word {
        "done" => Ok(ScriptEnd::Done),
        "failed" => Ok(ScriptEnd::Failed(text.to_owned())),
        "fenced" => Ok(ScriptEnd::Fenced {
            seen: epoch(line, text)?,
        }),
        "late" => Ok(ScriptEnd::Late {
            taken: ActionId(number(line, text)?),
        }),
        "busy" => Ok(ScriptEnd::LockBusy {
            holder: text.to_owned(),
        }),
        _ => Err(malformed(line, "is not a valid end")),
    }
}

/// Parses an epoch. It must be below a limit, because the next epoch is computed from it.
pub(super) fn epoch(line: &str, value: &str) -> Result<Epoch, Unreadable> {
    const EPOCH_MAX: u64 = 1 << 62;
    let epoch = number(line, value)?;
    if epoch < EPOCH_MAX {
        Ok(Epoch(epoch))
    } else {
        Err(malformed(line, "contains a number that is too large"))
    }
}

/// Parses seconds with a fraction, as in `/proc/uptime`.
pub(super) fn seconds(line: &str, value: &str) -> Result<Duration, Unreadable> {
    let parsed = value
        .parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.ok_or_else(|| malformed(line, "is not a time"))
}

pub(super) fn number<N: std::str::FromStr>(line: &str, value: &str) -> Result<N, Unreadable> {
    value
        .parse()
        .map_err(|_| malformed(line, "does not contain a valid number"))
}

/// Parses and checks a digest, which may become part of a path.
pub(super) fn digest(line: &str, value: &str) -> Result<ReleaseId, Unreadable> {
    let is_digest = value.len() == 64
        && value
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_digest {
        Ok(ReleaseId::from(value))
    } else {
        Err(malformed(
            line,
            "does not contain a digest of 64 hex digits",
        ))
    }
}

pub(super) fn malformed(line: &str, why: &str) -> Unreadable {
    Unreadable::Line {
        line: strip_controls(line).take(200).collect(),
        why: why.to_owned(),
    }
}

pub(super) fn missing(what: &str) -> Unreadable {
    Unreadable::Missing(what.to_owned())
}
