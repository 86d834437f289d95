//! `shared_dirs`: directories of a release that outlive it.

use std::path::{Component, Path};

use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::names;
use super::toml_tree::Node;
use super::value::{Faults, Located, ValueError, quoted, string};

/// Reads the list; errors go to `sink`.
pub(super) fn read(fields: &Fields<'_>, sink: &Sink) -> Option<Vec<Located<String>>> {
    let dirs = fields.list("shared_dirs", "shared_dirs = [\"uploads\"]", shared_dir)?;
    for (at, dir) in dirs.iter().enumerate() {
        let nested = dirs.iter().take(at).find(|other| {
            let (one, other) = (Path::new(&dir.value), Path::new(&other.value));
            one.starts_with(other) || other.starts_with(one)
        });
        if let Some(other) = nested {
            let message = format!(
                "{} and {} overlap",
                quoted(&other.value),
                quoted(&dir.value)
            );
            let diagnostic = Diagnostic::at(&dir.place, message).related(&other.place, "the other");
            sink.push(diagnostic.help("keep the outer one: it contains the other"));
            return None;
        }
    }
    Some(dirs)
}

/// Reads a directory that lies within the release.
fn shared_dir(node: &Node) -> Result<String, Faults> {
    let text = string(node)?;
    let outside = |why: &str| {
        Err(ValueError::new(format!("{why}: {}", quoted(&text)))
            .help("write a path below the directory of the release, for example \"uploads\"")
            .into())
    };
    let path = Path::new(&text);
    if path.is_absolute() {
        return outside("must be a path within the release");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return outside("climbs out of the release");
    }
    names::SHARED_DIR.check(&text)?;
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let clean = parts.collect::<Vec<_>>().join("/");
    if clean.is_empty() {
        return outside("is the release itself");
    }
    Ok(clean)
}
