//! The source of an artifact or of a channel.

use crate::config::local_path::resolve_relative;
use crate::config::toml_tree::{Node, Value};
use crate::config::value::{Faults, ValueError, quoted};
use reqwest::Url;
use std::path::{Path, PathBuf};

/// A file, a directory, or something to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file or a directory, relative to the playbook.
    Path(PathBuf),
    /// An http, https or s3 URL.
    Url(String),
}

impl Source {
    /// The source with another name in the same directory. The query of a URL is kept.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        match self {
            Source::Path(path) => Source::Path(path.with_file_name(name)),
            Source::Url(url) => Source::Url(with_last_segment(url, |_| name.to_owned())),
        }
    }

    /// The source with a suffix appended to its name.
    #[must_use]
    pub fn suffixed(&self, ending: &str) -> Self {
        match self {
            Source::Path(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(ending);
                Source::Path(name.into())
            }
            Source::Url(url) => {
                Source::Url(with_last_segment(url, |name| format!("{name}{ending}")))
            }
        }
    }

    /// Whether it is a URL that may contain secrets: a user, a password, or a query.
    pub fn may_hold_secrets(&self) -> bool {
        let Source::Url(text) = self else {
            return false;
        };
        let holds = |url: Url| {
            !url.username().is_empty() || url.password().is_some() || url.query().is_some()
        };
        Url::parse(text).map_or(true, holds)
    }
}

/// Parses a path that is relative to the playbook, or a URL.
pub(super) fn source(dir: &Path, node: &Node, text: &str) -> Result<Source, Faults> {
    let Some((scheme, _)) = text.split_once("://") else {
        let node = Node {
            place: node.place.clone(),
            value: Value::String(text.to_owned()),
        };
        return resolve_relative(dir, &node).map(Source::Path);
    };
    let wrong = |why: String| {
        ValueError::new(why)
            .help("for example \"https://example.org/testpage-{{ version }}.tar.gz\"")
    };
    match scheme {
        "http" | "https" | "s3" => {}
        _ => return Err(wrong(format!("has an unsupported scheme: {}", quoted(scheme))).into()),
    }
    match Url::parse(text) {
        Ok(_) => Ok(Source::Url(text.to_owned())),
        Err(why) => Err(wrong(format!("is not a URL: {why}")).into()),
    }
}

pub(super) fn with_last_segment(text: &str, change: impl Fn(&str) -> String) -> String {
    // Cannot fail: the URL was validated when it was read.
    let Ok(mut url) = Url::parse(text) else {
        return text.to_owned();
    };
    let (directory, name) = url.path().rsplit_once('/').unwrap_or(("", url.path()));
    let path = format!("{directory}/{}", change(name));
    url.set_path(&path);
    url.to_string()
}
