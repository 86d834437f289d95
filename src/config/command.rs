//! A command line, split into words here: no shell ever reads it as a whole.

use super::template::regions;
use super::tree::Node;
use super::value::{Faults, ValueError, line};

/// Splits a command as a shell would, but keeps each `{{ … }}` in one word.
pub(super) fn command(node: &Node) -> Result<Vec<String>, Faults> {
    let text = line(node)?;
    // A blank or a quote in a template is none of the command's: each template is replaced by a
    // word while it is split.
    let templates: Vec<_> = regions(&text)
        .into_iter()
        .filter_map(|region| text.get(region))
        .collect();
    let mut masked = text.clone();
    for (index, template) in templates.iter().enumerate() {
        masked = masked.replacen(*template, &mask(index), 1);
    }
    let words = shlex::split(&masked).ok_or_else(|| {
        ValueError::new("has a quote that is not closed, or ends in a backslash")
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

/// A control character marks the place, since [`line()`] refuses these in the text.
fn mask(index: usize) -> String {
    format!("\u{1}{index}\u{1}")
}
