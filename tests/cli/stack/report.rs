//! `ship report` of a stack: one page about a deployment.

use std::fs;

use super::events::Events;
use super::project::{SERVICES, StackProject};
use crate::report::{LOOKS, check_page, headline};
use ship_testing::behaviour::Behaviour;
use ship_testing::browser::{Browser, CHROMIUM};
use ship_testing::namespace;

/// The page of a deployment, by default of the last one.
#[track_caller]
fn page(project: &StackProject, args: &[&str]) -> String {
    let args = [&["report", "stack.toml", "--output-file", "-"], args].concat();
    project.run(&args, 0).stdout
}

/// The row of a service in the table of the services, without tags.
#[track_caller]
fn row(page: &str, service: &str) -> String {
    let begin = format!("<tr><td><strong>{service}</strong></td>");
    let rest = page.split_once(&begin).expect("a row of the service").1;
    let row = rest.split_once("</tr>").expect("its end").0;
    let cells = row.split('<').filter_map(|it| it.split_once('>'));
    let cells: Vec<_> = cells.map(|(_, text)| text.trim()).collect();
    let cells = cells.into_iter().filter(|text| !text.is_empty());
    cells.collect::<Vec<_>>().join(", ")
}

/// The rollouts of a service, without times: `deploy of 2 (revision 2): succeeded`.
#[track_caller]
fn rollouts(page: &str, service: &str) -> Vec<String> {
    let section = section(page, service);
    let facts = section.split("<dt>rollout ").skip(1);
    let facts = facts.filter_map(|it| it.split_once("<dd>")?.1.split_once("</dd>"));
    let without_time = |(fact, _): (&str, &str)| {
        let (what, rest) = fact.split_once("), ").expect("a revision");
        let outcome = rest.split_once(": ").map_or(rest, |(_, outcome)| outcome);
        format!("{what}): {outcome}")
    };
    facts.map(without_time).collect()
}

/// The section of a service.
#[track_caller]
fn section<'a>(page: &'a str, service: &str) -> &'a str {
    let heading = format!("</span> {service} <span");
    let mut sections = page.split("<details class=\"service\"").skip(1);
    let section = sections.find(|it| it.contains(&heading));
    section.unwrap_or_else(|| panic!("no section of {service} in {page}"))
}

#[track_caller]
fn assert_open(page: &str, open: &[&str]) {
    for service in SERVICES {
        let is_open = section(page, service).starts_with(" open");
        assert_eq!(is_open, open.contains(&service), "{service}: {page}");
    }
}

#[test]
fn report_is_one_page_of_the_last_deployment() {
    let project = StackProject::new();
    let done = project.run(&["report", "stack.toml"], 2);
    assert_eq!(
        done.stderr,
        "error: nothing has been deployed yet; run `ship deploy` first\n"
    );
    project.deploy("1");
    project.deploy("2");
    project
        .ship(&["report", "stack.toml"])
        .stdout("[ROOT]/.ship/runs/shop-deployment-2.html\n")
        .run();
    let path = project.path(".ship/runs/shop-deployment-2.html");
    let page = fs::read_to_string(path).expect("a page");
    assert_eq!(headline(&page), "Succeeded");
    assert!(page.contains("<title>✓ deployment 2 on shop: succeeded</title>"));
    for service in SERVICES {
        let row = row(&page, service);
        assert!(row.starts_with("1 → 2, ✓ Succeeded, "), "{row}");
        assert!(row.ends_with(", at least 1 of 1"), "{row}");
        let expected = ["deploy of 2 (revision 2): succeeded"];
        assert_eq!(rollouts(&page, service), expected);
    }
    assert_open(&page, &[]);
    assert!(page.contains("<pre>ship rollback "), "{page}");
}

#[test]
fn report_of_an_earlier_deployment_is_chosen_by_its_number() {
    let project = StackProject::deployed();
    project.deploy("2");
    let first = page(&project, &["--deployment", "1"]);
    assert!(first.contains("<title>✓ deployment 1 on shop: succeeded</title>"));
    for service in SERVICES {
        assert!(row(&first, service).starts_with("1, ✓ Succeeded, "));
    }
    assert!(first.contains(" --to-deployment 1</pre>"), "{first}");
    let done = project.run(&["report", "stack.toml", "--deployment", "9"], 2);
    assert_eq!(
        done.stderr,
        "error: the history has no deployment 9\nhint: list the deployments with `ship history`\n"
    );
}

#[test]
fn report_of_one_service_is_the_page_of_its_rollout() {
    let project = StackProject::deployed();
    let args = [
        "report",
        "stack.toml",
        "--service",
        "web",
        "--service",
        "api",
    ];
    let pages = project.run(&args, 0).stdout;
    let [api, web] = pages.lines().collect::<Vec<_>>()[..] else {
        panic!("two paths: {pages}")
    };
    for (service, path) in [("api", api), ("web", web)] {
        let page = fs::read_to_string(path).expect("a page");
        assert!(page.contains(&format!("<title>✓ {service} 1 on shop: succeeded</title>")));
    }
    let done = project.run(&["report", "stack.toml", "--rollout", "1"], 2);
    assert!(done.stderr.contains("this command needs one service"));
    let args = [
        "report",
        "stack.toml",
        "--service",
        "api",
        "--deployment",
        "1",
    ];
    let done = project.run(&args, 2);
    assert!(
        done.stderr.contains("cannot be used with"),
        "{}",
        done.stderr
    );
}

#[test]
fn report_shows_the_failure_and_what_was_undone() {
    let project = StackProject::deployed();
    project.release("web", "2", Behaviour::Exits);
    project.deploy_events(3);
    let page = page(&project, &[]);
    assert_eq!(headline(&page), "Failed and rolled back");
    let reason = page.split_once("<p class=\"reason\">").expect("a reason").1;
    assert!(
        reason.starts_with("web: node1:") && reason.contains("fatal: the frobnicator is missing"),
        "{reason}"
    );
    for service in ["api", "worker"] {
        assert!(row(&page, service).starts_with("1 → 2, ↩ Rolled back, "));
        let expected = [
            "deploy of 2 (revision 2): succeeded",
            "rollback to 1 (revision 3): succeeded",
        ];
        assert_eq!(rollouts(&page, service), expected);
    }
    let expected = ["deploy of 2 (revision 2): rolled-back"];
    assert_eq!(rollouts(&page, "web"), expected);
    assert_open(&page, &["web"]);
    assert!(page.contains(" --version 2</pre>"), "{page}");
}

#[test]
fn report_shows_a_service_that_never_began() {
    let project = StackProject::deployed();
    project.release("api", "2", Behaviour::Exits);
    project.deploy_events(3);
    let page = page(&project, &[]);
    assert_eq!(row(&page, "web"), "1 → 2, – Not begun");
    assert!(rollouts(&page, "web").is_empty());
    // Its instance of version 1 ran from the beginning to the end.
    assert!(section(&page, "web").contains(": 1 on :"), "{page}");
    assert_open(&page, &["api"]);
}

#[test]
fn report_of_a_killed_deployment_shows_how_far_it_was() {
    let project = StackProject::deployed();
    project.release("web", "2", Behaviour::Gated);
    let mut deploy = project.start_deploy();
    Events::await_event(&mut deploy, "web", "action_started");
    // It still runs.
    let running = page(&project, &[]);
    deploy.signal("KILL");
    assert_eq!(deploy.wait().code, None);
    for page in [running, page(&project, &[])] {
        assert_eq!(headline(&page), "Running, or interrupted");
        assert!(row(&page, "api").starts_with("1 → 2, ✓ Succeeded, "));
        assert!(row(&page, "web").starts_with("1 → 2, … Running, or interrupted, "));
        assert_open(&page, &["web"]);
        for verb in ["resume", "abort"] {
            assert!(page.contains(&format!("<pre>ship {verb} ")), "{page}");
        }
    }
    project.open_gate();
    project.run(&["resume", "stack.toml"], 0);
    let page = page(&project, &[]);
    assert_eq!(headline(&page), "Succeeded");
    assert_eq!(
        rollouts(&page, "web").last().map(String::as_str),
        Some("deploy of 2 (revision 2): succeeded")
    );
}

#[test]
fn report_shows_contract_migrations() {
    let project = StackProject::deployed();
    let lines = "\n[[migrations]]\nid = \"drop-name\"\nkind = \"contract\"\nsoak = \
                 \"100ms\"\ncommand = \"/bin/true\"\n";
    project.append("api.toml", lines);
    project.deploy("2");
    let page = page(&project, &[]);
    let expected = [
        "deploy of 2 (revision 2): succeeded",
        "contract migrations (revision 3): succeeded",
    ];
    assert_eq!(rollouts(&page, "api"), expected);
    assert!(
        page.contains("contract migrations, after all services"),
        "{page}"
    );
    assert!(!page.contains("<pre>ship rollback"), "{page}");
}

#[test]
fn report_of_a_stack_is_readable_on_a_phone_in_dark_mode_and_without_colours() {
    if !namespace::has_programs(&[CHROMIUM]) {
        return;
    }
    let project = StackProject::deployed();
    project.release("web", "2", Behaviour::Exits);
    project.deploy_events(3);
    project.run(&["report", "stack.toml"], 0);
    let mut browser = Browser::start();
    let page = project.path(".ship/runs/shop-deployment-2.html");
    check_page(&mut browser, &page, "stack", &LOOKS);
    let folded = "document.querySelectorAll('details.service:not([open])').length";
    browser.open(&page, LOOKS[0].1);
    assert_eq!(browser.evaluate(folded), 2);
}
