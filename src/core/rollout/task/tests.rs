use super::*;
use crate::core::ids::Revision;
use crate::core::release::hook::Hook;
use crate::core::release::migration::Migration;
use crate::core::release::unit::{Directives, StopSignal};
use crate::core::release::{Artifact, ArtifactForm, Check, Driver, Readiness, Via};

fn definition(
    hooks: &[(HookPoint, HookSite)],
    migrations: &[(&str, MigrationKind, bool)],
) -> Definition {
    let second = Duration::from_secs(1);
    Definition {
        service: "page".into(),
        version: "0.9".into(),
        command: vec!["./run".into()],
        activate: Vec::new(),
        reload: Vec::new(),
        ports: Vec::new(),
        slots: None,
        server: None,
        env: std::collections::BTreeMap::new(),
        driver: Driver::Process,
        user: None,
        stop_signal: StopSignal::Term,
        stop_timeout: second,
        linger: None,
        systemd: Directives::default(),
        shared_dirs: Vec::new(),
        readiness: Readiness {
            check: Check::Tcp,
            port: None,
            via: Via::Direct,
            interval: second,
            timeout: second,
            success_threshold: 1,
            failure_threshold: 3,
            initial_delay: Duration::ZERO,
        },
        liveness: None,
        hooks: hooks
            .iter()
            .map(|(on, at)| Hook {
                on: *on,
                at: *at,
                command: vec![format!("./{on}")],
                timeout: second,
            })
            .collect(),
        migrations: migrations
            .iter()
            .map(|(id, kind, manual)| Migration {
                id: (*id).into(),
                kind: *kind,
                command: vec!["./migrate".into()],
                timeout: second,
                soak: Some(second),
                manual: *manual,
            })
            .collect(),
        artifact: Artifact {
            form: ArtifactForm::TarGz,
            sha256: String::new(),
            size_bytes: 0,
            strip_components: 0,
        },
        secrets_sha256: None,
    }
}

#[test]
fn tasks_follow_rollout_order_without_completed_migrations() {
    use HookPoint::{AfterAll, BeforeAll, BeforeStart, OnFailure};
    use MigrationKind::{Contract, Expand};
    let definition = definition(
        &[
            (OnFailure, HookSite::Control),
            (AfterAll, HookSite::Host),
            (BeforeStart, HookSite::Host),
            (BeforeAll, HookSite::Control),
            (BeforeAll, HookSite::Host),
        ],
        &[
            ("drop-name", Contract, false),
            ("drop-mail", Contract, true),
            ("add-name", Expand, false),
            ("old", Expand, false),
        ],
    );
    let made = BTreeSet::from(["old".to_owned()]);
    let names: Vec<_> = tasks(&definition, &made)
        .into_iter()
        .map(|task| (task.name, task.due))
        .collect();
    let expected = [
        ("before_all", Due::Before),
        ("before_all 2", Due::Before),
        ("expand add-name", Due::Before),
        ("after_all", Due::After),
        ("contract drop-name", Due::Soaked(Duration::from_secs(1))),
        ("on_failure", Due::OnFailure),
    ];
    assert_eq!(names, expected.map(|(name, due)| (name.to_owned(), due)));
}

#[test]
fn contract_migration_rules_out_older_releases_that_do_not_have_it() {
    let made = [Contracted {
        id: "drop-name".into(),
        revision: Revision(5),
        version: "0.9".into(),
    }];
    let old = definition(&[], &[]);
    let why = past_contract(&old, Some(Revision(4)), &made).expect("it is older");
    assert!(
        why.contains("the contract \"drop-name\", which ran with 0.9 (revision 5)"),
        "{why}"
    );
    assert_eq!(past_contract(&old, Some(Revision(5)), &made), None);
    assert_eq!(
        past_contract(&old, None, &made),
        None,
        "a new release is meant to fit"
    );
    let knows = definition(&[], &[("drop-name", MigrationKind::Contract, false)]);
    assert_eq!(past_contract(&knows, Some(Revision(4)), &made), None);
    assert_eq!(past_contract(&old, Some(Revision(4)), &[]), None);
}
