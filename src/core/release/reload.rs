//! Which releases can be reloaded into each other.

use crate::core::release::{Artifact, ArtifactForm, Definition};

/// What a release has in common with those that differ from it only in their files: two releases
/// with the same text can be reloaded into each other. `None` if the release has no `reload`, or if
/// its process depends on the version.
///
/// `uses_version` tells whether a template uses the version.
pub fn reload_group(
    definition: &Definition,
    uses_version: impl Fn(&str) -> bool,
) -> Option<String> {
    let words = definition.command.iter().chain(&definition.reload);
    let mut texts = words.chain(definition.env.values());
    let mut directives = definition
        .systemd
        .0
        .values()
        .flatten()
        .flat_map(|(_, values)| values);
    let depends = texts.any(|text| uses_version(text)) || directives.any(|text| uses_version(text));
    if definition.reload.is_empty() || depends {
        return None;
    }
    let common = Definition {
        version: String::new(),
        artifact: Artifact {
            form: ArtifactForm::TarGz,
            sha256: String::new(),
            size_bytes: 0,
            strip_components: 0,
        },
        migrations: Vec::new(),
        ..definition.clone()
    };
    serde_json::to_string(&common).ok()
}
