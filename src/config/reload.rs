//! `reload`: refuses what prevents an instance from continuing with the files of another release.

use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::template::uses;
use super::templates::Templates;
use super::value::ValueError;
use crate::core::release::Driver;

/// Reports a `reload` that needs another driver.
pub(super) fn check_driver(fields: &Fields<'_>, driver: Option<Driver>) {
    let has_units = driver.is_none_or(|driver| driver == Driver::Systemd);
    if !has_units && fields.key_place("reload").is_some() {
        let fault = ValueError::new("needs driver = \"systemd\"");
        fields.report("reload", fault.help("leave it out"));
    }
}

/// Reports templates of the process that use the version: no two releases would have the same
/// process.
pub(super) fn check_templates(templates: &Templates, sink: &Sink) {
    for template in templates.iter() {
        if uses(&template.value, "version") {
            let message = "a service with `reload` cannot use {{ version }} here: a reloaded process \
                           keeps its command, environment and unit";
            let help = "write the version to a file of the release, or leave out `reload`";
            sink.push(Diagnostic::at(&template.place, message).help(help));
        }
    }
}
