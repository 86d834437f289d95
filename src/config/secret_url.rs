//! URLs that contain secrets: in the file itself, in an environment variable, or in another file.

use std::fmt;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::local_path::resolve_relative;
use super::names;
use super::value::{line, located};

/// Where a URL is found that is a secret or contains one.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretUrl {
    /// Written in the configuration.
    Literal(String),
    /// In the environment variable of this name.
    Env(String),
    /// The content of this file.
    File(PathBuf),
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What a URL must look like.
pub(super) struct UrlForm {
    /// The table, for messages: `[state]`.
    pub(super) table: &'static str,
    /// An example of a key.
    pub(super) example: &'static str,
    /// What an invalid URL should be instead.
    pub(super) help: &'static str,
    /// Validates the URL; the error is a fragment without the URL.
    pub(super) check: fn(&str) -> Result<String, String>,
}

impl SecretUrl {
    /// Reads `url`, `url_env` or `url_file`; errors go to `sink`.
    pub(super) fn read(
        fields: &Fields<'_>,
        dir: &Path,
        form: &UrlForm,
        sink: &Sink,
    ) -> Option<Self> {
        let url = fields.optional("url", located(line));
        let env = fields.optional("url_env", |node| names::variable(node).map(Self::Env));
        let file = fields.optional("url_file", |node| {
            resolve_relative(dir, node).map(Self::File)
        });
        let literal = |url: super::value::Located<String>| match (form.check)(&url.value) {
            Ok(url) => Some(Self::Literal(url)),
            Err(why) => {
                let place = &url.place;
                // The line is not shown, because it may still be a secret.
                let diagnostic = Diagnostic::line(
                    place.path(),
                    place.line(),
                    place.column(),
                    format!("`url` {why}"),
                );
                sink.push(diagnostic.help(form.help));
                None
            }
        };
        let url = match url? {
            Some(url) => Some(literal(url)?),
            None => None,
        };
        let (env, file) = (env?, file?);
        let mut urls = [url, env, file].into_iter().flatten();
        match (urls.next(), urls.next()) {
            (Some(url), None) => Some(url),
            (None, _) => {
                let message = format!("{} has no URL", form.table);
                let diagnostic = Diagnostic::at(fields.place(), message);
                sink.push(diagnostic.help(format!("for example: {}", form.example)));
                None
            }
            (Some(_), Some(_)) => {
                let message = format!(
                    "{} has more than one of `url`, `url_env` and `url_file`",
                    form.table
                );
                sink.push(Diagnostic::at(fields.place(), message).help("keep one of them"));
                None
            }
        }
    }

    /// The URL itself.
    ///
    /// # Errors
    /// Why it is not known or not valid, without the URL.
    pub fn resolve(
        &self,
        check: impl Fn(&str) -> Result<String, String>,
    ) -> Result<String, String> {
        let (text, source) = match self {
            Self::Literal(url) => return Ok(url.clone()),
            Self::Env(name) => {
                let text = std::env::var(name).map_err(|_| {
                    format!("the environment variable {name} (`url_env`) is not set")
                })?;
                (text, name.clone())
            }
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|why| format!("cannot read {} (`url_file`): {why}", path.display()))?;
                (text, path.display().to_string())
            }
        };
        check(text.trim()).map_err(|why| format!("the value of {source} {why}"))
    }
}
