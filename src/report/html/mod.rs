//! One rollout as a page of its own: no script, nothing from elsewhere, readable on a phone, in the
//! dark, on paper and without colour. Every text is escaped by the template engine, and what must
//! not be shown is covered before.

mod capacity;
mod draw;
mod facts;
mod lanes;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};

use super::text::clean_indented;
use crate::core::journal::placements::Roster;
use crate::core::redact::Veil;
use crate::core::rollout::event::Entry;
use crate::core::spec::budget::Budget;
use crate::core::time::Time;
use crate::report::reporter::Setup;

/// Its name ends so that everything in it is escaped.
const NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// What a page is made of.
#[derive(Debug)]
pub struct Dossier<'a> {
    /// The number of the rollout.
    pub rollout: i64,
    /// What happened.
    pub journal: &'a [Entry],
    /// Who ran when it began.
    pub before: &'a Roster,
    /// Hosts, versions and the reader's time zone.
    pub setup: Setup,
    /// What it was allowed to spend, if that is known.
    pub budget: Option<Budget>,
    /// Who asked for it.
    pub who: &'a str,
    /// Why.
    pub cause: &'a str,
    /// What the caller was told, if it has ended.
    pub exit_code: Option<u8>,
    /// What the release differs in from the one before.
    pub changes: Changes,
    /// The inventory, as a command names it.
    pub inventory: &'a str,
    /// The present moment, where it has not ended.
    pub now: Time,
}

/// What a release differs in from the one before.
#[derive(Debug, Default)]
pub struct Changes {
    /// What it is compared with: `revision 1`.
    pub since: String,
    /// What, from what, to what.
    pub parts: Vec<[String; 3]>,
    /// Lines of the playbook that went (`-`) and came (`+`).
    pub playbook: Vec<String>,
}

/// Why there is no page.
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
pub fn page(dossier: &Dossier<'_>, veil: &Veil) -> Result<String, PageError> {
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
fn cover(value: &mut serde_json::Value, veil: &Veil) {
    match value {
        serde_json::Value::String(text) => *text = clean_indented(&veil.hide(text)),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| cover(item, veil)),
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(|field| cover(field, veil));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
