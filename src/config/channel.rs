//! `[artifact.channels]`: names for a version that changes, such as the latest build.

use std::path::{Path, PathBuf};

use super::analysis::pointer;
use super::fields::{Fields, Sink};
use super::local_path::resolve_relative;
use super::names;
use super::template::regions;
use super::toml_tree::{Node, Value};
use super::value::{Faults, ValueError, line};
use crate::config::source::{Source, source};

/// Where ship finds the version of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The first word of a text.
    Text(Source),
    /// A value of a JSON document.
    Json {
        source: Source,
        /// The JSON pointer of the value.
        pointer: String,
    },
    /// The newest file by name. The part between the prefix and the suffix is the version.
    Newest {
        directory: PathBuf,
        prefix: String,
        suffix: String,
    },
}

const EXAMPLE: &str = "for example \"https://ci.example.org/latest.txt\", { source = \
                       \"https://ci.example.org/latest.json\", \
                       value = \"$.version\" } or { newest = \"builds/testpage-{{ version \
                       }}.tar.gz\" }";

/// A channel can be used in place of a version, so its name follows the same rule.
pub(super) fn check_name(name: &str) -> Result<(), ValueError> {
    names::VERSION.check(name)
}

/// Checks that a text is a valid version.
///
/// # Errors
/// The problem as a fragment: "cannot contain `/`".
pub fn check_version(text: &str) -> Result<(), String> {
    names::VERSION.check(text).map_err(|fault| fault.message)
}

/// Reads a channel; `None` if the error was reported already.
pub(super) fn read(node: &Node, dir: &Path, sink: &Sink) -> Result<Option<Channel>, Faults> {
    if !matches!(node.value, Value::Table(_)) {
        let text = node.text().ok_or_else(|| {
            ValueError::new(format!(
                "must be a URL, a path or a table, not {}",
                node.kind()
            ))
            .help(EXAMPLE)
        })?;
        return plain(dir, node, text).map(Channel::Text).map(Some);
    }
    Ok(Fields::new(node, "a channel", sink).and_then(|fields| read_table(&fields, dir)))
}

fn read_table(fields: &Fields<'_>, dir: &Path) -> Option<Channel> {
    if fields.key_place("newest").is_some() {
        let newest = fields.required(
            "newest",
            "newest = \"builds/testpage-{{ version }}.tar.gz\"",
            |it| newest(dir, it),
        );
        fields.finish();
        return newest;
    }
    let source = fields.required(
        "source",
        "source = \"https://ci.example.org/latest.json\"",
        |node| plain(dir, node, &line(node)?),
    );
    let pointer = fields.required("value", "value = \"$.build.version\"", pointer);
    fields.finish();
    Some(Channel::Json {
        source: source?,
        pointer: pointer?,
    })
}

/// Reads a source without templates, because the version is not known yet.
fn plain(dir: &Path, node: &Node, text: &str) -> Result<Source, Faults> {
    if regions(text).is_empty() {
        return source(dir, node, text);
    }
    Err(
        ValueError::new("cannot contain a template, because ship reads it to find the version")
            .help(EXAMPLE)
            .into(),
    )
}

fn newest(dir: &Path, node: &Node) -> Result<Channel, Faults> {
    let wrong = |why: &str| {
        ValueError::new(why).help("for example \"builds/testpage-{{ version }}.tar.gz\"")
    };
    let text = line(node)?;
    if text.contains("://") {
        return Err(wrong("must be a path, because ship cannot list the files of a server").into());
    }
    let regions = regions(&text);
    let [region] = regions.as_slice() else {
        return Err(wrong("must contain `{{ version }}` exactly once").into());
    };
    let (before, after) = (
        text.get(..region.start).unwrap_or_default(),
        text.get(region.end..).unwrap_or_default(),
    );
    let inside = text
        .get(region.clone())
        .unwrap_or_default()
        .trim_start_matches("{{")
        .trim_end_matches("}}");
    if inside.trim() != "version" || after.contains('/') {
        return Err(wrong("must contain `{{ version }}` exactly once, in the file name").into());
    }
    let (directory, prefix) = before
        .rsplit_once('/')
        .map_or((".", before), |(directory, name)| {
            (if directory.is_empty() { "/" } else { directory }, name)
        });
    let at = Node {
        place: node.place.clone(),
        value: Value::String(directory.to_owned()),
    };
    let directory = resolve_relative(dir, &at)?.components().collect();
    Ok(Channel::Newest {
        directory,
        prefix: prefix.to_owned(),
        suffix: after.to_owned(),
    })
}
