//! `[state]`: the database that keeps the state of a fleet for several operators.

use std::path::Path;

use super::fields::{Fields, OptionalTable, Sink};
use super::secret_url::{SecretUrl, UrlForm};
use super::value::quoted;

const STATE_URL: UrlForm = UrlForm {
    table: "[state]",
    example: "url = \"postgres://ship@db.internal/ship\"",
    help: "for example `postgres://ship@db.internal/ship` or `etcd://10.0.0.1:2379,10.0.0.2:2379/ship`",
    check: state_url,
};

/// `[state]` has an error, which is in the sink.
#[derive(Debug)]
pub(super) struct InvalidState;

/// Reads `[state]`; errors go to `sink`. `None` if the table is absent.
pub(super) fn read(
    top: &Fields<'_>,
    dir: &Path,
    sink: &Sink,
) -> Result<Option<SecretUrl>, InvalidState> {
    let fields = match top.table_if_any("state", "[state]") {
        OptionalTable::Present(fields) => fields,
        OptionalTable::Absent => return Ok(None),
        OptionalTable::Invalid => return Err(InvalidState),
    };
    let url = SecretUrl::read(&fields, dir, &STATE_URL, sink);
    fields.finish();
    url.map(Some).ok_or(InvalidState)
}

/// Validates the scheme of a URL of the state. The database validates the rest.
///
/// # Errors
/// The problem as a fragment, without the URL.
pub fn state_url(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("postgres" | "postgresql" | "etcd", _)) => Ok(text.to_owned()),
        Some((scheme, _)) => Err(format!("has an unsupported scheme: {}", quoted(scheme))),
        None => Err("is not a URL".to_owned()),
    }
}
