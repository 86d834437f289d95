//! Collects the templates of a playbook until the hosts are known.

use crate::config::diagnostic::SourceSpan;
use crate::config::template::{TemplateFault, regions};
use crate::config::value::Located;

/// The templates for slots, each with the place of its text.
#[derive(Default)]
pub(super) struct Templates(Vec<Located<String>>);

impl Templates {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Located<String>> {
        self.0.iter()
    }

    pub(super) fn extend(&mut self, place: Option<SourceSpan>, templates: &[String]) {
        let Some(place) = place else { return };
        self.0.extend(templates.iter().map(|value| Located {
            value: value.clone(),
            place: place.clone(),
        }));
    }
}

/// The place of the invalid word in a template, or of the whole template.
pub(super) fn place_within(place: &SourceSpan, fault: &TemplateFault) -> SourceSpan {
    let text = place.text();
    let Some(word) = &fault.word else {
        return place.clone();
    };
    regions(text)
        .into_iter()
        .find_map(|region| {
            let start = region.start + text.get(region)?.find(word.as_str())?;
            Some(place.part(&(start..start + word.len())))
        })
        .unwrap_or_else(|| place.clone())
}
