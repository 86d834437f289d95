//! How well the answers to probes show which release a server serves.

use crate::config::uses;
use crate::core::release::{Check, Definition, Driver};

/// What identifies a release whose files a server serves that ship does not run; `None` if ship
/// runs the processes of the release, and so knows which one answers.
pub(crate) fn identity_note(definition: &Definition) -> Option<String> {
    if definition.driver != Driver::Link {
        return None;
    }
    let names_version =
        |text: &Option<String>| text.as_deref().is_some_and(|text| uses(text, "version"));
    let evidence = match &definition.readiness.check {
        Check::Http { header, .. } if names_version(header) => "the header",
        Check::Http { body, .. } if names_version(body) => "the body",
        Check::Command(_) => "the command",
        Check::Http { .. } | Check::Tcp | Check::Running(_) | Check::Notify => {
            return Some(
                "driver = \"link\": a probe also passes while the server serves another \
                 release; name the version in [readiness], for example body = \"{{ version }}\" or \
                 header = \"X-Version: {{ version }}\""
                    .to_owned(),
            );
        }
    };
    Some(format!(
        "driver = \"link\": only {evidence} that [readiness] names shows which release is served \
         (weaker than a process)"
    ))
}
