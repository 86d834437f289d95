//! The examples in inventory/ and playbooks/.

use std::collections::BTreeMap;
use std::path::Path;

use ship::config::{
    Overrides, Project, RolloutConfig, SlotVars, Source, Transport, load, load_with, render,
};
use ship::core::ids::HostId;
use ship::core::release::{Check, Driver};

fn example(inventory: &str) -> Project {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("inventory")
        .join(inventory);
    load(&path, &Overrides::default()).unwrap_or_else(|wrong| panic!("{wrong}"))
}

#[test]
fn local_example_has_four_hosts_and_three_replicas() {
    let Project {
        inventory,
        playbook,
    } = example("local.toml");
    let hosts: Vec<_> = inventory
        .hosts
        .iter()
        .map(|host| (host.name.as_str(), host.address.as_str()))
        .collect();
    let expected = [
        ("node1", "127.0.0.11"),
        ("node2", "127.0.0.12"),
        ("node3", "127.0.0.13"),
        ("node4", "127.0.0.14"),
    ];
    assert_eq!(hosts, expected);
    assert!(
        inventory
            .hosts
            .iter()
            .all(|host| host.transport == Transport::Local)
    );
    assert_eq!(
        (playbook.version.as_str(), playbook.service.driver),
        ("0.8", Driver::Process)
    );
    assert_eq!(playbook.rollout.amounts(4).replicas, 3);
    let Source::Path(source) = playbook.artifact.source else {
        panic!("a directory")
    };
    assert!(source.join("testpage.py").is_file());

    let Check::Http {
        path,
        body: Some(body),
        ..
    } = playbook.readiness.check
    else {
        panic!("http")
    };
    let vars = SlotVars {
        version: "0.8",
        slot: 8081,
        port: Some(8081),
        ports: &[],
        address: "127.0.0.11",
        host: &HostId::from("node1"),
        service: "testpage",
        fleet: "local",
        labels: &BTreeMap::new(),
    };
    assert_eq!(
        (path.as_str(), render(&body, &vars)),
        ("/", Ok("the version is: 0.8".to_owned()))
    );
}

#[test]
fn examples_for_real_machines_match_the_local_example() {
    let local = example("local.toml").playbook;
    for inventory in ["vagrant.toml", "production.toml"] {
        let Project {
            inventory,
            playbook,
        } = example(inventory);
        assert!(
            inventory
                .hosts
                .iter()
                .all(|host| host.ssh.escalation.is_root() && host.ssh.user.is_some())
        );
        assert_eq!(playbook.service.driver, Driver::Systemd);
        assert_eq!(playbook.version, local.version);
        assert_eq!(playbook.service.env, local.service.env);
        assert_eq!(playbook.service.slots, local.service.slots);
        // The local example soaks for a moment, so that a user can watch the rollout.
        assert_eq!(
            RolloutConfig {
                min_ready: local.rollout.min_ready,
                ..playbook.rollout
            },
            local.rollout
        );
    }
    let vagrant: Vec<_> = example("vagrant.toml")
        .inventory
        .hosts
        .into_iter()
        .map(|host| host.address)
        .collect();
    assert_eq!(
        vagrant,
        [
            "192.168.56.11",
            "192.168.56.12",
            "192.168.56.13",
            "192.168.56.14"
        ]
    );
}

#[test]
fn in_place_example_allows_one_unavailable_instance() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path)?;
        Ok(text
            .replace("../playbooks/testpage.toml", "../playbooks/in-place.toml")
            .into_bytes())
    };
    let project = load_with(
        &root.join("inventory/production.toml"),
        &Overrides::default(),
        read,
    )
    .unwrap_or_else(|wrong| panic!("{wrong}"));
    let budget = project.playbook.rollout.amounts(3).resolve(3, 1).unwrap();
    assert_eq!(
        (budget.replicas, budget.surge, budget.unavailable),
        (3, 0, 1)
    );
}

/// Some playbooks have a load balancer.
const BALANCER: &str = "\n[[balancers]]\nname = \"lb1\"\n";

#[test]
fn every_playbook_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let inventory = root.join("inventory/production.toml");
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("playbooks")).expect("the playbooks") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let playbook = std::fs::read_to_string(&path).expect("the playbook");
        let balancer = if playbook.contains("\n[traffic]") {
            BALANCER
        } else {
            ""
        };
        let read = |path: &Path| {
            if path != inventory {
                return Ok(playbook.clone().into_bytes());
            }
            let inventory = std::fs::read_to_string(path)?;
            Ok((inventory + balancer).into_bytes())
        };
        let overrides = Overrides::default();
        load_with(&inventory, &overrides, read)
            .unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
        count += 1;
    }
    assert!(count >= 10, "{count} playbooks");
}
