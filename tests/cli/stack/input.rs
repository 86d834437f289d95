//! Wrong input: each error has its place and its reason, and nothing is touched.

use super::project::StackProject;

/// What is changed in the inventory, and what is printed about it.
struct Case {
    old: &'static str,
    new: &'static str,
    /// The place, and the parts of the message.
    expected: &'static [&'static str],
}

/// Deploys each changed inventory, which is refused before a host is touched.
#[track_caller]
fn refuse(cases: &[Case]) {
    for case in cases {
        let project = StackProject::new();
        project.change("stack.toml", case.old, case.new);
        refuse_deploy(&project, &[], case.expected);
    }
}

/// Runs a deploy with these arguments, which must print exactly one error.
#[track_caller]
fn refuse_deploy(project: &StackProject, args: &[&str], expected: &[&str]) {
    let args = [&["deploy", "stack.toml"], args].concat();
    let done = project.run(&args, 2);
    for words in expected {
        assert!(
            done.stderr.contains(words),
            "no {words:?} in\n{}",
            done.stderr
        );
    }
    assert_eq!(done.stdout, "");
    assert_eq!(done.stderr.matches("error: ").count(), 1, "{}", done.stderr);
    assert!(
        !project.path(".ship/hosts").exists(),
        "something was made on a host"
    );
}

const API_HOSTS: &str = "hosts = \"role=app\"\n\n[[services]]\nplaybook = \"worker.toml\"";

#[test]
fn order_with_an_unknown_name_or_with_itself_is_refused() {
    refuse(&[
        Case {
            old: "after = [\"api\", \"worker\"]",
            new: "after = [\"api\", \"wroker\"]",
            expected: &[
                "error: the inventory has no service `wroker`",
                "stack.toml:15:17",
                "help: the services of the inventory: api, web, worker",
            ],
        },
        Case {
            old: "after = [\"api\", \"worker\"]",
            new: "after = [\"web\"]",
            expected: &[
                "error: service `web` cannot come after itself",
                "stack.toml:15:10",
                "help: remove it from `after`",
            ],
        },
        Case {
            old: "after = [\"api\", \"worker\"]",
            new: "after = \"api\"",
            expected: &[
                "error: `after` must be a list of names, not a string",
                "stack.toml:15:9",
                "after = [\"api\"]",
            ],
        },
    ]);
}

#[test]
fn cycle_is_refused_at_each_name_of_it() {
    let project = StackProject::new();
    project.change("stack.toml", "batch)\"", "batch)\"\nafter = [\"web\"]");
    let done = project.run(&["deploy", "stack.toml"], 2);
    for words in [
        "error: service `worker` comes after `web`, which comes after it: the order is a cycle\n  --> \
         stack.toml:11:10",
        "error: service `web` comes after `worker`, which comes after it: the order is a cycle\n  --> \
         stack.toml:16:17",
        "help: remove one of the names in `after`",
    ] {
        assert!(
            done.stderr.contains(words),
            "no {words:?} in\n{}",
            done.stderr
        );
    }
    // `api` is not a part of the cycle.
    assert_eq!(done.stderr.matches("error: ").count(), 2, "{}", done.stderr);
    assert!(
        !project.path(".ship/hosts").exists(),
        "something was made on a host"
    );
}

#[test]
fn two_services_with_one_name_are_refused() {
    let project = StackProject::new();
    project.change("api.toml", "name = \"api\"", "name = \"worker\"");
    project.change(
        "stack.toml",
        "after = [\"api\", \"worker\"]",
        "after = [\"worker\"]",
    );
    let expected = [
        "error: two services are named `worker`",
        "stack.toml:9:12",
        "first used here",
        "help: give each service a unique `name` in its playbook",
    ];
    refuse_deploy(&project, &[], &expected);
}

#[test]
fn two_services_on_one_port_of_a_host_are_refused() {
    let project = StackProject::new();
    project.change("web.toml", "8281", "8082");
    let expected = [
        "error: service `web` uses port 8082 of node1, as another service does",
        "stack.toml:13:12",
        "used by this service",
        "help: give the services different ports, or different hosts",
    ];
    refuse_deploy(&project, &[], &expected);
    // Also if the other service is not selected.
    refuse_deploy(&project, &["--service", "web"], &expected);
}

#[test]
fn two_services_with_one_port_on_different_hosts_are_deployed() {
    let project = StackProject::new();
    project.change("worker.toml", "8181, 8182", "8081, 8082");
    project.change("stack.toml", "role in (app, batch)", "role=batch");
    project.deploy("1");
    project.assert_serves("1");
}

#[test]
fn service_that_the_stack_does_not_have_is_refused() {
    let project = StackProject::new();
    let known = "help: the services of the inventory: api, worker, web";
    for (args, place) in [
        (&["--service", "wbe"][..], "--service wbe\n"),
        (&["--version", "wbe=2"], "--version wbe=2\n"),
    ] {
        let expected = [
            "error: the inventory has no service `wbe`",
            "command line:1:11",
            place,
            known,
        ];
        refuse_deploy(&project, args, &expected);
    }
    let args = ["--service", "api", "--version", "web=2"];
    let expected = [
        "error: a version for service `web`, which is not selected",
        "command line:1:11",
        "help: add `--service web`, or leave out its version",
    ];
    refuse_deploy(&project, &args, &expected);
    for verb in [
        "status", "history", "rollback", "resume", "abort", "pause", "restart", "plan",
    ] {
        let done = project.run(&[verb, "stack.toml", "--service", "wbe"], 2);
        assert!(
            done.stderr
                .contains("error: the inventory has no service `wbe`"),
            "{verb}: {}",
            done.stderr
        );
    }
}

#[test]
fn selector_that_cannot_be_read_is_refused_at_its_wrong_part() {
    let help = "help: for example: role=app, role!=db, role in (app, batch), role notin (db), zone or \
                !zone, joined by commas";
    let cases = [
        ("role=", "expected a value at the end", "6:15"),
        ("role in app", "expected `(`, found `app`", "6:18"),
        ("role in (app", "expected `)` at the end", "6:22"),
        (
            "role = app batch",
            "expected a comma, found `batch`",
            "6:21",
        ),
        ("=app", "expected the name of a label, found `=`", "6:10"),
        ("role,", "expected the name of a label at the end", "6:15"),
        ("role > 3", "expected a comma, found `>`", "6:15"),
    ];
    for (selector, why, place) in cases {
        let project = StackProject::new();
        let new = API_HOSTS.replace("role=app", selector);
        project.change("stack.toml", API_HOSTS, &new);
        let message = format!("error: `hosts` is not a valid selector: {why}");
        let place = format!("stack.toml:{place}\n");
        refuse_deploy(&project, &[], &[&message, &place, help]);
    }
    for (value, message) in [
        ("\"\"", "`hosts` must not be empty"),
        ("3", "`hosts` must be a string"),
    ] {
        let project = StackProject::new();
        let new = API_HOSTS.replace("\"role=app\"", value);
        project.change("stack.toml", API_HOSTS, &new);
        refuse_deploy(&project, &[], &[message, "stack.toml:6:9\n"]);
    }
}

#[test]
fn selector_without_a_host_lists_the_labels() {
    refuse(&[Case {
        old: API_HOSTS,
        new: "hosts = \"role=db\"\n\n[[services]]\nplaybook = \"worker.toml\"",
        expected: &[
            "error: the selector matches no host",
            "stack.toml:6:9\n",
            "help: the labels of the hosts: role (app, batch)",
        ],
    }]);
}

#[test]
fn tables_that_do_not_fit_together_are_refused() {
    refuse(&[
        Case {
            old: "[fleet]",
            new: "playbook = \"api.toml\"\n[fleet]",
            expected: &[
                "error: `playbook` and [[services]] cannot both be used",
                "stack.toml:1:1\n",
                "help: write the playbook into a [[services]] table of its own",
            ],
        },
        Case {
            old: "[[hosts]]",
            new: "[stack]\non_failure = \"stop\"\n\n[[hosts]]",
            expected: &[
                "error: `on_failure` must be \"rollback\" or \"hold\", not `stop`",
                "stack.toml:18:14\n",
                "help: write \"rollback\" or \"hold\"",
            ],
        },
        Case {
            old: "[[hosts]]",
            new: "[stack]\non_faliure = \"hold\"\n\n[[hosts]]",
            expected: &[
                "error: unknown key `on_faliure` in [stack]",
                "stack.toml:18:1\n",
                "on_failure",
            ],
        },
        Case {
            old: "[[services]]\nplaybook = \"worker.toml\"",
            new: "[[services]]\n\n[[services]]\nplaybook = \"worker.toml\"",
            expected: &[
                "error: missing key `playbook` in [[services]]",
                "stack.toml:8:1\n",
                "help: for example: playbook = \"../playbooks/api.toml\"",
            ],
        },
        Case {
            old: "hosts = \"role=app\"",
            new: "host = \"role=app\"",
            expected: &[
                "error: unknown key `host` in [[services]]",
                "stack.toml:6:1\n",
                "`hosts`",
            ],
        },
        Case {
            old: "\"worker.toml\"",
            new: "\"wroker.toml\"",
            expected: &[
                "error: cannot read wroker.toml: No such file or directory",
                "stack.toml:9:12\n",
                "help: the path is relative to the inventory",
            ],
        },
    ]);
}

#[test]
fn stack_table_without_services_is_refused() {
    let project = StackProject::new();
    let text = std::fs::read_to_string(project.path("stack.toml")).expect("our own file");
    let (_, hosts) = text.split_once("[[hosts]]").expect("it has hosts");
    let top = "playbook = \"api.toml\"\n\n[stack]\non_failure = \"hold\"\n\n[fleet]\nname = \
               \"shop\"\n\n[[hosts]]";
    std::fs::write(project.path("stack.toml"), format!("{top}{hosts}")).expect("our own file");
    let expected = [
        "error: [stack] can only be used with [[services]]",
        "stack.toml:3:1\n",
        "help: remove it",
    ];
    refuse_deploy(&project, &[], &expected);
    let top = "services = []\n\n[fleet]\nname = \"shop\"\n\n[[hosts]]";
    std::fs::write(project.path("stack.toml"), format!("{top}{hosts}")).expect("our own file");
    refuse_deploy(
        &project,
        &[],
        &["error: `services` must not be empty", "stack.toml:1:12\n"],
    );
}
