//! The id of a release.

use std::collections::BTreeSet;

use ship::config::{definition, release_id};
use ship::core::release::{Artifact, ArtifactForm, Definition};

use super::{Files, files};

fn artifact() -> Artifact {
    Artifact {
        form: ArtifactForm::TarGz,
        sha256: "ab".repeat(32),
        size_bytes: 7,
        strip_components: 0,
    }
}

#[test]
fn release_id_depends_on_every_field() {
    let id = |files: Files, artifact: Artifact, secrets: Option<&str>| {
        release_id(&definition(
            &files.project().playbook,
            artifact,
            secrets.map(str::to_owned),
        ))
        .to_string()
    };
    let name = id(files(), artifact(), None);
    assert_eq!(name.len(), 64);
    assert!(
        name.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')),
        "{name}"
    );
    assert_eq!(
        id(files(), artifact(), None),
        name,
        "the same is named the same"
    );
    assert_eq!(
        id(files().set("rollout.max_surge=2"), artifact(), None),
        name,
        "how it is rolled out does not matter"
    );
    let pulled = files()
        .playbook("web-{{ version }}.tar.gz", "https://a.org/web")
        .set("artifact.fetch=pull");
    assert_eq!(
        id(pulled, artifact(), None),
        name,
        "nor from where its bytes come"
    );

    let others = [
        id(files().version("0.9"), artifact(), None),
        id(files().set("service.env.A=1"), artifact(), None),
        id(files().set("service.command=./other"), artifact(), None),
        id(files().set("service.ports=[9081, 9082]"), artifact(), None),
        id(files().set("readiness.http=/ready"), artifact(), None),
        id(files().set("liveness.http=/alive"), artifact(), None),
        id(
            files().set("readiness.header=\"X-Version: 1\""),
            artifact(),
            None,
        ),
        id(
            files(),
            Artifact {
                sha256: "cd".repeat(32),
                ..artifact()
            },
            None,
        ),
        id(files(), artifact(), Some("ef")),
    ];
    let different: BTreeSet<_> = others.iter().chain([&name]).collect();
    assert_eq!(different.len(), 10);
}

#[test]
fn release_id_is_stable_across_versions_of_ship() {
    let present = definition(&files().project().playbook, artifact(), None);
    assert_eq!(
        present.slots(),
        Some(files().project().playbook.service.slots)
    );
    // In an earlier version of ship, ports did not belong to a release.
    let definition = Definition {
        ports: Vec::new(),
        ..present
    };
    assert_eq!(
        release_id(&definition).as_str(),
        "9daa572efec65a275f48ba7639afdaaeaa43dac2c878d76c529b348697f3a73e"
    );
    let json = serde_json::to_string(&definition).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Definition>(&json).expect("a definition"),
        definition
    );
}
