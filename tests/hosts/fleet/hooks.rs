//! The user's commands on real hosts, under systemd.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{ask_all, four_hosts};
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Done;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};

/// Where hooks write down that they ran: the service's user may.
const TOLD: &str = "/tmp/told";

/// A hook for each of these points, which writes down who, where and when.
fn with_hooks(project: Project, hooks: &[(&str, &str)]) -> Project {
    let table = |(on, script): &(&str, &str)| {
        format!("[[hooks]]\non = \"{on}\"\ncommand = \"sh -c '{script}'\"\ntimeout = \"2s\"\n")
    };
    let tables: Vec<_> = hooks.iter().map(table).collect();
    let tables = tables.concat();
    project.with("[rollout]", &format!("{tables}\n[rollout]"))
}

/// What the hooks of a host have written down.
fn told(host: &Host) -> Vec<String> {
    host.exec(&format!("cat {TOLD} 2>/dev/null"))
        .stdout
        .lines()
        .map(str::to_owned)
        .collect()
}

/// What the journal says of hooks that did not do well: where, which, what they said.
fn failed(done: &Done) -> Vec<String> {
    let lines = done
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let hooks = lines.filter(|line| line["event"] == "hook_ran" && line["ok"] == false);
    hooks
        .map(|it| format!("{} {} {}", it["slot"]["host"], it["point"], it["output"]))
        .collect()
}

fn deploy_json(project: &Project, version: &str) -> Done {
    project.ship("deploy", &["--version", version, "--output", "json"])
}

/// One host with one replica, whose hooks tell what they find.
fn telling() -> (Fleet, Project) {
    let fleet = Fleet::boot(1);
    let tell = "echo $SHIP_HOOK $SHIP_VERSION $(cat version) $(id -un) pages: $(pgrep -c python3) \
                >>/tmp/told";
    let points = ["before_start", "after_start", "before_stop", "after_stop"];
    let project =
        Project::new(|playbook| fleet.inventory(playbook)).with("replicas = 3", "replicas = 1");
    let project = with_hooks(project, &points.map(|point| (point, tell)));
    (fleet, project)
}

#[test]
fn the_four_hooks_come_in_their_order_on_the_way_there_and_back() {
    namespace::with_hosts(|| {
        let (fleet, project) = telling();
        let host = &fleet.hosts[0];
        project.deploy("1").exits(0);
        let first = [
            "before_start 1 1 ship-page pages: 0",
            "after_start 1 1 ship-page pages: 1",
        ];
        assert_eq!(told(host), first);
        host.exec(&format!("rm {TOLD}")).exits(0);

        project.deploy("2").exits(0);
        let there = [
            "before_start 2 2 ship-page pages: 1",
            "after_start 2 2 ship-page pages: 2",
            "before_stop 1 1 ship-page pages: 2",
            "after_stop 1 1 ship-page pages: 1",
        ];
        assert_eq!(told(host), there);
        host.exec(&format!("rm {TOLD}")).exits(0);

        project.ship("rollback", &[]).exits(0);
        let back = [
            "before_start 1 1 ship-page pages: 1",
            "after_start 1 1 ship-page pages: 2",
            "before_stop 2 2 ship-page pages: 2",
            "after_stop 2 2 ship-page pages: 1",
        ];
        assert_eq!(told(host), back);
        project.assert_settled("1", 1);
    });
}

#[test]
fn what_fails_before_a_start_is_rolled_back_and_nothing_old_is_stopped() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let before = pids(&fleet);
        let project = with_hooks(
            project,
            &[("before_start", "echo looking; echo no database; exit 3")],
        );
        let asker = ask_all(&fleet);
        let done = deploy_json(&project, "2").exits(3);
        let answers = asker.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} answered for a while",
            answers.fewest(3)
        );
        assert!(
            answers.pages().iter().all(|page| page.ends_with("is: 1")),
            "{:?}",
            answers.pages()
        );
        assert_eq!(
            failed(&done),
            ["\"h4\" \"before_start\" [\"looking\",\"no database\"]"]
        );
        assert!(
            done.stdout
                .contains("the before_start hook exited with status 3: no database")
        );
        assert_eq!(
            pids(&fleet),
            before,
            "the old ones are those that there were"
        );
        project.assert_settled("1", 3);
    });
}

#[test]
fn what_fails_after_a_start_is_stopped_again() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let before = pids(&fleet);
        let project = with_hooks(project, &[("after_start", "echo too cold; exit 1")]);
        let done = deploy_json(&project, "2").exits(3);
        assert_eq!(failed(&done), ["\"h4\" \"after_start\" [\"too cold\"]"]);
        assert_eq!((pids(&fleet), running(PAGE)), (before, 3));
        fleet.hosts[3]
            .exec("systemctl list-units --all --no-legend 'ship-page@*' | grep -v inactive")
            .exits(1);
        fleet.hosts[3]
            .exec("ls /etc/systemd/system/multi-user.target.wants | grep ship-page")
            .exits(1);
        project.assert_settled("1", 3);
    });
}

#[test]
fn what_hangs_before_a_stop_is_cut_at_its_timeout_and_the_stop_goes_on() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let hang = "trap : TERM; echo waiting; while :; do sleep 60; done";
        let project = with_hooks(
            project.with("replicas = 3", "replicas = 1"),
            &[("before_stop", hang)],
        );
        project.deploy("1").exits(0);
        let began = Instant::now();
        let asker = ask_all(&fleet);
        let done = deploy_json(&project, "2").exits(0);
        let answers = asker.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            (Duration::from_secs(2)..Duration::from_secs(40)).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
        // Some shells say more than that when they are told to end.
        let failed = failed(&done);
        assert!(
            failed.len() == 1 && failed[0].starts_with("\"h1\" \"before_stop\" [\"waiting\""),
            "{failed:?}"
        );
        for host in &fleet.hosts {
            host.exec("pgrep -f '[e]cho waiting'").exits(1);
        }
        project.assert_settled("2", 1);
    });
}

/// The processes of the service, host by host.
fn pids(fleet: &Fleet) -> Vec<String> {
    fleet
        .hosts
        .iter()
        .map(|host| host.exec("pgrep -f '[p]age.py'").stdout)
        .collect()
}

#[test]
fn a_migration_is_made_once_on_one_host_as_the_services_user() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let migration = "[[migrations]]\nid = \"add-email\"\nkind = \"expand\"\n\
                         command = '''sh -c \"test -f page.py && id -un >>/tmp/made && echo \
                         $SHIP_VERSION >>/tmp/made\"'''\n\n\
                         [rollout]";
        let project =
            Project::new(|playbook| fleet.inventory(playbook)).with("replicas = 3", "replicas = 2");
        let project = project.with("[rollout]", migration);
        project
            .deploy("1")
            .exits(0)
            .says(&["expand add-email: done in "]);
        let done = project.deploy("2").exits(0);
        assert!(!done.stderr.contains("add-email"), "{}", done.stderr);
        let [first, second] = &fleet.hosts[..] else {
            panic!("two hosts")
        };
        assert_eq!(
            first.exec("cat /tmp/made").exits(0).stdout,
            "ship-page\n1\n"
        );
        assert_eq!(
            first
                .exec("ls /var/lib/ship/page/migrations")
                .exits(0)
                .stdout,
            "add-email\n"
        );
        second
            .exec("test ! -e /tmp/made && test ! -e /var/lib/ship/page/migrations")
            .exits(0);
        // Where the history is lost, the host still knows; it is the first one that is asked.
        std::fs::remove_dir_all(project.path(".ship")).expect("our own directory");
        project.release("3", Behaviour::Good);
        project
            .deploy("3")
            .exits(0)
            .says(&["expand add-email: was done before"]);
        assert_eq!(
            first.exec("cat /tmp/made").exits(0).stdout,
            "ship-page\n1\n"
        );
    });
}
