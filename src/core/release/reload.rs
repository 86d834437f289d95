//! Which releases can be reloaded into each other.

use crate::core::release::{Artifact, ArtifactForm, Definition};

/// What a release has in common with those that differ from it only in their files: two releases
/// with the same text can be reloaded into each other. `None` if the release has no `reload`.
pub fn reload_group(definition: &Definition) -> Option<String> {
    if definition.reload.is_empty() {
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
