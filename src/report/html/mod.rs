//! The report page of a rollout or of a deployment: one HTML file without scripts or external resources, readable on a
//! phone, in dark mode, on paper and without colour. Secrets are redacted before the template engine
//! escapes every text.

mod analyses;
mod capacity;
mod chart;
mod deployment_page;
mod deployment_steps;
mod incident;
mod lane_chart;
mod next_steps;
mod overview;
mod page_context;
mod page_input;
mod rollout_marks;
mod rollout_page;
mod section;
mod time_axis;
mod timeline;
mod verdict;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};

pub use self::page_input::{Changes, DeploymentInput, PageInput, RolloutInput, ServiceInput};

use self::page_context::PageContext;
use super::text::clean_indented;
use crate::core::redact::Redactor;

/// The suffix `.html` makes the template engine escape every value.
const NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A journal does not begin with `rollout_started`.
    #[error("a journal does not begin with `rollout_started`")]
    MissingStart,
    /// A defect of the template.
    #[error("cannot render the page: {0}")]
    Template(#[from] minijinja::Error),
}

/// Renders the page of a rollout with secrets redacted.
///
/// # Errors
/// If the journal does not begin with `rollout_started`.
pub fn page(input: PageInput<'_>, redactor: &Redactor) -> Result<String, PageError> {
    let context = rollout_page::page_context(input).ok_or(PageError::MissingStart)?;
    render(&context, redactor)
}

/// Renders the page of a deployment with secrets redacted.
///
/// # Errors
/// If the journal of a rollout does not begin with `rollout_started`.
pub fn deployment_page(
    input: &DeploymentInput<'_>,
    redactor: &Redactor,
) -> Result<String, PageError> {
    let context = deployment_page::page_context(input).ok_or(PageError::MissingStart)?;
    render(&context, redactor)
}

fn render(context: &PageContext, redactor: &Redactor) -> Result<String, PageError> {
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
