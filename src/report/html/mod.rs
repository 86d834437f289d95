//! One rollout as a page of its own: no script, nothing from elsewhere, readable on a phone, in the
//! dark, on paper and without colour. Every text is escaped by the template engine, and what must
//! not be shown is covered before.

mod analyses;
mod capacity;
mod chart;
mod draw;
mod facts;
mod page_input;
mod time_axis;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};

pub use self::page_input::{Changes, PageInput};

use super::text::clean_indented;
use crate::core::redact::Redactor;

/// Its name ends so that everything in it is escaped.
const NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The journal does not begin as one does.
    #[error("its journal does not begin with a rollout's start")]
    NotBegun,
    /// The template is at fault, which is ship's own.
    #[error("the page cannot be made: {0}")]
    Template(#[from] minijinja::Error),
}

/// The page, with what must not be shown covered.
///
/// # Errors
/// If the journal is none.
pub fn page(dossier: &PageInput<'_>, veil: &Redactor) -> Result<String, PageError> {
    let facts = facts::facts(dossier).ok_or(PageError::NotBegun)?;
    let mut facts = serde_json::to_value(facts).map_err(|why| {
        minijinja::Error::new(minijinja::ErrorKind::BadSerialization, why.to_string())
    })?;
    cover(&mut facts, veil);
    facts["style"] = STYLE.into();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.add_template(NAME, TEMPLATE)?;
    Ok(environment.get_template(NAME)?.render(Serde(&facts))?)
}

/// Covers every text of a document, and takes out what is no text.
fn cover(value: &mut serde_json::Value, veil: &Redactor) {
    match value {
        serde_json::Value::String(text) => *text = clean_indented(&veil.redact(text)),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| cover(item, veil)),
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(|field| cover(field, veil));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
