//! The report page of a rollout: one HTML file without scripts or external resources, readable on a
//! phone, in dark mode, on paper and without colour. Secrets are redacted before the template engine
//! escapes every text.

mod analyses;
mod capacity;
mod chart;
mod context;
mod next_steps;
mod page_input;
mod time_axis;
mod timeline;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};

pub use self::page_input::{Changes, PageInput};

use super::text::clean_indented;
use crate::core::redact::Redactor;

/// The suffix `.html` makes the template engine escape every value.
const NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The journal does not begin with `rollout_started`.
    #[error("the journal does not begin with `rollout_started`")]
    MissingStart,
    /// A defect of the template.
    #[error("cannot render the page: {0}")]
    Template(#[from] minijinja::Error),
}

/// Renders the page with secrets redacted.
///
/// # Errors
/// If the journal does not begin with `rollout_started`.
pub fn page(input: &PageInput<'_>, redactor: &Redactor) -> Result<String, PageError> {
    let context = context::page_context(input).ok_or(PageError::MissingStart)?;
    let mut context = serde_json::to_value(context).map_err(|why| {
        minijinja::Error::new(minijinja::ErrorKind::BadSerialization, why.to_string())
    })?;
    redact(&mut context, redactor);
    context["style"] = STYLE.into();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.add_template(NAME, TEMPLATE)?;
    Ok(environment.get_template(NAME)?.render(Serde(&context))?)
}

/// Redacts every text of a document, and removes control characters.
fn redact(value: &mut serde_json::Value, redactor: &Redactor) {
    match value {
        serde_json::Value::String(text) => *text = clean_indented(&redactor.redact(text)),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| redact(item, redactor)),
        serde_json::Value::Object(fields) => {
            fields
                .values_mut()
                .for_each(|field| redact(field, redactor));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
