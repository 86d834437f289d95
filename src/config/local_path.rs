//! Paths on this machine in the configuration.

use std::path::{Path, PathBuf};

use super::toml_tree::Node;
use super::value::{Faults, ValueError, line};

/// Parses a path that is relative to `dir`; `~/` is the user's home directory.
pub(super) fn resolve_relative(dir: &Path, node: &Node) -> Result<PathBuf, Faults> {
    let text = line(node)?;
    let Some(rest) = text.strip_prefix("~/") else {
        return Ok(dir.join(&text));
    };
    match std::env::home_dir() {
        Some(home) => Ok(home.join(rest)),
        None => Err(
            ValueError::new("begins with `~/`, but the home directory is not known")
                .help("set HOME, or write the full path")
                .into(),
        ),
    }
}
