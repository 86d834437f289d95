//! The page of a deployment.

use std::time::Duration;

use super::*;
use crate::core::ids::{Revision, Slot};
use crate::core::rollout::event::{FailureResponse, RolloutStart};
use crate::core::rollout::failure::{Failure, FailureKind};
use crate::core::rollout::verb::Verb;
use crate::core::stack::{
    DeployedService, Deployment, DeploymentNumber, OnStackFailure, StackDirection, StackOutcome,
};
use crate::core::time::Time;

/// A rollout from 0.8 to 0.9 with this outcome, this many seconds after the deployment began.
fn rolled_out(after_s: u64, outcome: Outcome) -> Vec<Entry> {
    let mut play = Play::example();
    play.then(500, Event::RolloutFinished { outcome });
    later(journal(play), after_s)
}

fn later(mut journal: Vec<Entry>, after_s: u64) -> Vec<Entry> {
    for entry in &mut journal {
        entry.at = entry.at + Duration::from_secs(after_s);
    }
    journal
}

/// A rollout that fails on node4 and rolls back.
fn failed(after_s: u64) -> Vec<Entry> {
    let mut play = Play::begin(4);
    play.stage("node4", "0.9");
    let failure = Failure {
        kind: FailureKind::Exited,
        host: Some("node4".into()),
        slot: Some(Slot::new("node4", 8081)),
        detail: "exit status 1".into(),
        waited: Duration::from_millis(100),
    };
    play.then(
        100,
        Event::RolloutFailed {
            failure,
            log: Vec::new(),
            then: FailureResponse::RollBack,
        },
    );
    play.then(
        100,
        Event::RolloutFinished {
            outcome: Outcome::RolledBack,
        },
    );
    later(journal(play), after_s)
}

/// The rollout that takes a service from 0.9 back to 0.8.
fn undone(after_s: u64) -> Vec<Entry> {
    let mut play = Play::begin(4);
    let first = play.entries.first_mut().expect("the start");
    if let Event::RolloutStarted(start) = &mut first.0.event {
        let RolloutStart {
            verb,
            target,
            rollback_target,
            ..
        } = start;
        *verb = Verb::Rollback;
        let earlier = rollback_target.replace(target.clone());
        *target = testing::revision_ref("0.8", 3);
        assert_eq!(earlier.map(|it| it.version).as_deref(), Some("0.8"));
    }
    play.start("node1", "0.8", "testpage-230767614a-back1");
    play.stop("node2", "testpage-230767614a-00002");
    let outcome = Outcome::Succeeded;
    play.then(100, Event::RolloutFinished { outcome });
    later(journal(play), after_s)
}

fn deployed(service: &str) -> DeployedService {
    DeployedService {
        service: service.to_owned(),
        after: [].into(),
        version: "0.9".into(),
        revision: Revision(2),
        before: Some(Revision(1)),
        set: Vec::new(),
        undo: None,
        contract: None,
    }
}

fn deployment(services: &[&str], outcome: Option<StackOutcome>) -> Deployment {
    Deployment {
        number: DeploymentNumber(2),
        verb: Verb::Deploy,
        who: "anna@laptop".into(),
        reason: "ticket 4711".into(),
        began: testing::START,
        on_failure: OnStackFailure::RollBack,
        direction: StackDirection::Forward,
        services: services.iter().map(|name| deployed(name)).collect(),
        outcome,
        ended: outcome.map(|_| testing::START + Duration::from_mins(1)),
    }
}

/// The page of a deployment of services with these journals.
fn page_of(deployment: &Deployment, services: &[(&str, Vec<Vec<Entry>>)]) -> String {
    let now = testing::START + Duration::from_mins(1);
    page_at(now, 4, deployment, services)
}

/// The same, at this time and on this many hosts.
fn page_at(
    now: Time,
    hosts: u32,
    deployment: &Deployment,
    services: &[(&str, Vec<Vec<Entry>>)],
) -> String {
    // What the example runs at its start.
    let mut before = Placements::default();
    let mut earlier = Play::begin(hosts);
    for host in 1..hosts {
        let name = format!("testpage-230767614a-{host:05}");
        earlier.start(&format!("node{host}"), "0.8", &name);
    }
    let earlier = journal(earlier);
    for entry in &earlier {
        before.apply(entry);
    }
    let input = DeploymentInput {
        deployment,
        fleet: "shop",
        services: services
            .iter()
            .map(|(service, journals)| ServiceInput {
                service,
                setup: testing::setup(hosts),
                before: &before,
                version_before: Some("0.8"),
                rollouts: journals.iter().map(|it| rollout(it, &before)).collect(),
            })
            .collect(),
        is_partial: false,
        is_newest: true,
        arguments: "shop.toml".into(),
        now,
    };
    deployment_page(&input, &Redactor::new(["hunter2".to_owned()])).unwrap()
}

/// The section of a service.
#[track_caller]
fn section<'a>(page: &'a str, service: &str) -> &'a str {
    let heading = format!("</span> {service} <span");
    let mut sections = page.split("<details class=\"service\"").skip(1);
    sections
        .find(|it| it.contains(&heading))
        .unwrap_or_else(|| panic!("no section of {service} in\n{page}"))
}

#[track_caller]
fn assert_contains(page: &str, all: &[&str]) {
    for words in all {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
}

/// The labels of the time axis below the lanes.
fn axis(section: &str) -> Vec<&str> {
    let axes = section.split("<div class=\"axis\" aria-hidden=\"true\">");
    let last = axes.last().unwrap_or_default();
    let ticks = last.split("</span>").filter_map(|it| it.rsplit_once('>'));
    ticks.map(|(_, label)| label.trim()).collect()
}

#[test]
fn deployment_page_shows_every_service_on_one_axis() {
    let deployment = deployment(&["api", "web"], Some(StackOutcome::Deployed));
    let journals = [
        ("api", vec![rolled_out(1, Outcome::Succeeded)]),
        ("web", vec![rolled_out(30, Outcome::Succeeded)]),
    ];
    let page = page_of(&deployment, &journals);
    assert_contains(
        &page,
        &[
            "<title>✓ deployment 2 on shop: succeeded</title>",
            "deploy of api 0.9, web 0.9 in 1m",
            "<dt>command</dt><dd>deploy by anna@laptop</dd>",
            "<dt>reason</dt><dd>ticket 4711</dd>",
            "<td><strong>api</strong></td><td>0.8 → 0.9</td><td class=\"good\"><b>✓ \
             Succeeded</b></td><td>5.2s</td><td data-name=\"available\">at least 3 of 3</td>",
            "<pre>ship rollback shop.toml</pre>",
            "aria-label=\"api: deploy of 0.9 from 10:42:25 to 10:42:30\"",
            "aria-label=\"web: deploy of 0.9 from 10:42:54 to 10:42:59\"",
        ],
    );
    let [api, web] = ["api", "web"].map(|name| section(&page, name));
    // The events come after the chart, which has the last axis.
    assert_eq!(axis(api)[..3], ["15s", "30s", "45s"]);
    assert_eq!(axis(api), axis(web));
    assert!(!api.starts_with(" open") && !web.starts_with(" open"));
    assert_contains(web, &["node1: 0.8 on :8081, running 10:42:24,"]);
    assert!(!page.contains("hunter2"), "{page}");
}

#[test]
fn deployment_page_begins_with_the_failure_and_shows_the_undo() {
    let mut deployment = deployment(&["api", "web"], Some(StackOutcome::RolledBack));
    deployment.direction = StackDirection::Back;
    let journals = [
        ("api", vec![rolled_out(1, Outcome::Succeeded), undone(40)]),
        ("web", vec![failed(30)]),
    ];
    let page = page_of(&deployment, &journals);
    assert_contains(
        &page,
        &[
            "</span>Failed and rolled back</h1>",
            "<p class=\"reason\">web: node4:8081: 0.9 exited unexpectedly",
            "<b>↩ Rolled back</b>",
            "<b>✗ Failed and rolled back</b>",
            "<pre>ship deploy shop.toml --version 0.9 --reason &#x27;ticket 4711&#x27;</pre>",
            "rolls back, to the earlier revision",
        ],
    );
    let [api, web] = ["api", "web"].map(|name| section(&page, name));
    assert!(web.starts_with(" open") && !api.starts_with(" open"));
    assert_contains(
        api,
        &[
            "deploy of 0.9 (revision 2), 10:42:25, 5.2s: succeeded",
            "rollback to 0.8 (revision 3), 10:43:04, ",
        ],
    );
    // Both rollouts are in the lanes: the old version is there before and after the new one.
    let lane = "node1: 0.8 on :8081, running 10:42:24, stopping 10:42:27, stopped 10:42:27; 0.9 on \
                :8081, started 10:42:27, ready 10:42:28, stopped 10:43:04; 0.8 on :8081, started \
                10:43:04, ready 10:43:05";
    assert_contains(api, &[lane]);
}

#[test]
fn deployment_page_shows_a_service_that_has_not_begun() {
    let deployment = deployment(&["api", "web"], Some(StackOutcome::RolledBack));
    let page = page_of(&deployment, &[("api", vec![failed(1)]), ("web", vec![])]);
    assert_contains(
        &page,
        &["<b>– Not begun</b>", "aria-label=\"web: not begun\""],
    );
    let web = section(&page, "web");
    assert_contains(web, &["node3: 0.8 on :8081, running 10:42:24"]);
    assert!(
        !web.contains("Capacity") && !web.contains("Events"),
        "{web}"
    );
}

#[test]
fn unfinished_deployment_has_a_page_that_names_the_next_steps() {
    let deployment = deployment(&["api", "web"], None);
    let mut play = Play::begin(4);
    play.start("node4", "0.9", "testpage-515849216a-059b0");
    let unfinished = later(journal(play), 1);
    let now = testing::START + Duration::from_mins(2);
    let journals = [("api", vec![unfinished]), ("web", vec![])];
    let page = page_at(now, 4, &deployment, &journals);
    assert_contains(
        &page,
        &[
            "</span>Running, or interrupted</h1>",
            "deploy of api 0.9, web 0.9 in 2m so far",
            "<pre>ship resume shop.toml</pre>",
            "<pre>ship abort shop.toml</pre>",
        ],
    );
    assert!(section(&page, "api").starts_with(" open"));
}

#[test]
fn aborted_deployment_has_no_failure() {
    let outcome = Some(StackOutcome::RolledBack);
    let journals = [("api", vec![rolled_out(1, Outcome::Succeeded), undone(40)])];
    let page = page_of(&deployment(&["api"], outcome), &journals);
    assert_contains(&page, &["</span>Aborted and rolled back</h1>"]);
    assert!(!page.contains("What went wrong"), "{page}");
}

#[test]
fn page_names_a_service_that_the_inventory_no_longer_has() {
    let deployment = deployment(&["api", "web"], Some(StackOutcome::Deployed));
    let page = page_of(
        &deployment,
        &[("api", vec![rolled_out(1, Outcome::Succeeded)])],
    );
    let web = section(&page, "web");
    assert_contains(web, &["the inventory no longer has this service"]);
}

#[test]
fn page_of_an_earlier_deployment_offers_only_its_versions() {
    let deployment = deployment(&["api"], Some(StackOutcome::Deployed));
    let journals = rolled_out(1, Outcome::Succeeded);
    let before = Placements::default();
    let input = DeploymentInput {
        deployment: &deployment,
        fleet: "shop",
        services: vec![ServiceInput {
            service: "api",
            setup: testing::setup(4),
            before: &before,
            version_before: None,
            rollouts: vec![rollout(&journals, &before)],
        }],
        is_partial: false,
        is_newest: false,
        arguments: "shop.toml".into(),
        now: testing::START,
    };
    let page = deployment_page(&input, &Redactor::default()).unwrap();
    assert_contains(
        &page,
        &["<pre>ship rollback shop.toml --to-deployment 2</pre>"],
    );
}

#[test]
fn page_of_a_large_stack_is_folded_and_small() {
    let names: Vec<_> = (1..=12).map(|n| format!("service{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut play = Play::begin(50);
    for host in (1..50).rev() {
        play.stage(&format!("node{host}"), "0.9");
        play.start(
            &format!("node{}", host + 1),
            "0.9",
            &format!("testpage-515849216a-{host:05}"),
        );
        play.stop(
            &format!("node{host}"),
            &format!("testpage-230767614a-{host:05}"),
        );
    }
    let outcome = Outcome::Succeeded;
    play.then(100, Event::RolloutFinished { outcome });
    let one = journal(play);
    let journals: Vec<_> = names
        .iter()
        .map(|name| (*name, vec![one.clone()]))
        .collect();
    let deployment = deployment(&names, Some(StackOutcome::Deployed));
    let page = page_at(testing::START, 50, &deployment, &journals);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    for name in names {
        let section = section(&page, name);
        assert!(!section.starts_with(" open"));
        assert_contains(
            section,
            &["All 50 hosts, ", "node50: 0.9 on :8081, started"],
        );
    }
}
