//! Builds the definition of a release, and its id, from a playbook and an artifact.

use sha2::{Digest, Sha256};

use crate::core::ids::ReleaseId;
use crate::core::release::slots::Slots;
use crate::core::release::{Artifact, Definition};

use super::playbook::Playbook;

/// The definition of a release. `secrets_sha256` is the digest of the file with the secrets.
pub fn definition(
    playbook: &Playbook,
    artifact: Artifact,
    secrets_sha256: Option<String>,
) -> Definition {
    let service = &playbook.service;
    Definition {
        service: service.name.clone(),
        version: playbook.version.clone(),
        command: service.command.clone(),
        activate: service.activate.clone(),
        reload: service.reload.clone(),
        ports: match &service.slots {
            Slots::Ports(ports) => ports.clone(),
            Slots::Count(_) => Vec::new(),
        },
        slots: match service.slots {
            Slots::Ports(_) => None,
            Slots::Count(count) => Some(count),
        },
        server: playbook
            .traffic
            .as_ref()
            .and_then(|traffic| traffic.driver.server())
            .map(str::to_owned),
        env: service.env.clone(),
        driver: service.driver,
        user: service.user.clone(),
        stop_signal: service.stop_signal,
        stop_timeout: service.stop_timeout,
        linger: service.linger,
        systemd: playbook.systemd.clone(),
        shared_dirs: service
            .shared_dirs
            .iter()
            .map(|dir| dir.value.clone())
            .collect(),
        readiness: playbook.readiness.clone(),
        liveness: playbook.liveness.clone(),
        hooks: playbook.hooks.clone(),
        migrations: playbook.migrations.clone(),
        artifact,
        secrets_sha256,
    }
}

/// The id of a release: the SHA-256 of its canonical JSON, with the fields in the order of the type
/// and the maps sorted.
pub fn release_id(definition: &Definition) -> ReleaseId {
    let json = serde_json::to_vec(definition)
        .expect("a definition has only strings, numbers and maps of strings");
    ReleaseId::from(hex(&Sha256::digest(json)))
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}
