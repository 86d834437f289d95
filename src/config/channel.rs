//! `[artifact.channels]`: names that stand for a version that changes, such as the last build.

use std::path::{Path, PathBuf};

use super::analysis::pointer;
use super::fields::{Fields, Sink};
use super::inventory::beside;
use super::names;
use super::template::regions;
use super::tree::{Node, Value};
use super::value::{Faults, ValueError, line};
use crate::config::source::{Source, source};

/// Where ship finds the version that a channel stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The first word of a text.
    Text(Source),
    /// A value of a JSON document.
    Json {
        source: Source,
        /// Which value, as a JSON pointer.
        pointer: String,
    },
    /// The newest file by name: what stands between the two parts is the version.
    Newest {
        directory: PathBuf,
        /// How the names of the files begin.
        prefix: String,
        /// How the names of the files end.
        suffix: String,
    },
}

const EXAMPLE: &str = "for example \"https://ci.example.org/latest.txt\", { source = \
                       \"https://ci.example.org/latest.json\", \
                       value = \"$.version\" } or { newest = \"builds/testpage-{{ version \
                       }}.tar.gz\" }";

/// A channel is given in place of a version, and follows the same rule.
pub(super) fn check_name(name: &str) -> Result<(), ValueError> {
    names::VERSION.check(name)
}

/// Whether a text is a version that can be deployed.
///
/// # Errors
/// Says what is wrong with it, as a fragment: "cannot hold `/`".
pub fn check_version(text: &str) -> Result<(), String> {
    names::VERSION.check(text).map_err(|fault| fault.message)
}

/// Reads one; `None` where the problem was reported already.
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

/// Reads a source without templates: a channel is read before the version is known.
fn plain(dir: &Path, node: &Node, text: &str) -> Result<Source, Faults> {
    if regions(text).is_empty() {
        return source(dir, node, text);
    }
    Err(
        ValueError::new("cannot hold a template: it is read to find the version")
            .help(EXAMPLE)
            .into(),
    )
}

fn newest(dir: &Path, node: &Node) -> Result<Channel, Faults> {
    let wrong = |why: &str| {
        ValueError::new(why)
            .help("for example \"builds/testpage-{{ version }}.tar.gz\": in the file's name, once")
    };
    let text = line(node)?;
    if text.contains("://") {
        return Err(wrong("must be a path: no server says what files it has").into());
    }
    let regions = regions(&text);
    let [region] = regions.as_slice() else {
        return Err(wrong("must have one `{{ version }}`").into());
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
        return Err(wrong("must have one `{{ version }}`, in the file's name").into());
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
    let directory = beside(dir, &at)?.components().collect();
    Ok(Channel::Newest {
        directory,
        prefix: prefix.to_owned(),
        suffix: after.to_owned(),
    })
}
