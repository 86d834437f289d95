//! Splits a command line into words. ship never passes the whole line to a shell.

use super::template::regions;
use super::toml_tree::Node;
use super::value::{Faults, ValueError, line};

/// Splits a command as a shell would, but keeps each `{{ … }}` in one word.
pub(super) fn command(node: &Node) -> Result<Vec<String>, Faults> {
    let text = line(node)?;
    // Blanks and quotes in a template do not separate words, so each template is replaced by a
    // placeholder while the line is split.
    let templates: Vec<_> = regions(&text)
        .into_iter()
        .filter_map(|region| text.get(region))
        .collect();
    let mut masked = text.clone();
    for (index, template) in templates.iter().enumerate() {
        masked = masked.replacen(*template, &mask(index), 1);
    }
    let words = shlex::split(&masked).ok_or_else(|| {
        ValueError::new("has an unclosed quote, or ends in a backslash")
            .help("quote words as in a shell: run --title 'two words'")
    })?;
    if words.is_empty() {
        return Err(ValueError::new("must not be empty").into());
    }
    let unmask = |word: String| {
        templates
            .iter()
            .enumerate()
            .fold(word, |word, (index, template)| {
                word.replace(&mask(index), template)
            })
    };
    Ok(words.into_iter().map(unmask).collect())
}

/// A placeholder with control characters, which [`line()`] rejects in the text itself.
fn mask(index: usize) -> String {
    format!("\u{1}{index}\u{1}")
}
