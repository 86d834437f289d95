//! Hooks and migrations on real hosts, under systemd.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{four_hosts, monitor_all};
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Done;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};

/// Where hooks log that they ran; the service's user can write there.
const HOOK_LOG: &str = "/tmp/hook-log";

/// Adds a hook for each of these points.
fn with_hooks(project: Project, hooks: &[(&str, &str)]) -> Project {
    let table = |(on, script): &(&str, &str)| {
        format!("[[hooks]]\non = \"{on}\"\ncommand = \"sh -c '{script}'\"\ntimeout = \"2s\"\n")
    };
    let tables: Vec<_> = hooks.iter().map(table).collect();
    let tables = tables.concat();
    project.with("[rollout]", &format!("{tables}\n[rollout]"))
}

/// What the hooks of a host have logged.
fn hook_log(host: &Host) -> Vec<String> {
    host.exec(&format!("cat {HOOK_LOG} 2>/dev/null"))
        .stdout
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The failed hooks in the events: their host, point and output.
fn failed_hooks(done: &Done) -> Vec<String> {
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

/// One host with one replica, whose hooks log what they observe.
fn one_host_with_hooks() -> (Fleet, Project) {
    let fleet = Fleet::boot(1);
    let command = "echo $SHIP_HOOK $SHIP_VERSION $(cat version) $(id -un) pages: $(pgrep -c python3) \
                >>/tmp/hook-log";
    let points = ["before_start", "after_start", "before_stop", "after_stop"];
    let project =
        Project::new(|playbook| fleet.inventory(playbook)).with("replicas = 3", "replicas = 1");
    let project = with_hooks(project, &points.map(|point| (point, command)));
    (fleet, project)
}

#[test]
fn hooks_run_in_order_in_deploy_and_rollback() {
    namespace::with_hosts(|| {
        let (fleet, project) = one_host_with_hooks();
        let host = &fleet.hosts[0];
        project.deploy("1").exits(0);
        let first = [
            "before_start 1 1 ship-page pages: 0",
            "after_start 1 1 ship-page pages: 1",
        ];
        assert_eq!(hook_log(host), first);
        host.exec(&format!("rm {HOOK_LOG}")).exits(0);

        project.deploy("2").exits(0);
        let there = [
            "before_start 2 2 ship-page pages: 1",
            "after_start 2 2 ship-page pages: 2",
            "before_stop 1 1 ship-page pages: 2",
            "after_stop 1 1 ship-page pages: 1",
        ];
        assert_eq!(hook_log(host), there);
        host.exec(&format!("rm {HOOK_LOG}")).exits(0);

        project.ship("rollback", &[]).exits(0);
        let back = [
            "before_start 1 1 ship-page pages: 1",
            "after_start 1 1 ship-page pages: 2",
            "before_stop 2 2 ship-page pages: 2",
            "after_stop 2 2 ship-page pages: 1",
        ];
        assert_eq!(hook_log(host), back);
        project.assert_settled("1", 1);
    });
}

#[test]
fn failed_before_start_hook_rolls_back_without_stops() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let before = pids(&fleet);
        let project = with_hooks(
            project,
            &[("before_start", "echo connecting; echo no database; exit 3")],
        );
        let monitor = monitor_all(&fleet);
        let done = deploy_json(&project, "2").exits(3);
        let answers = monitor.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        assert!(
            answers.pages().iter().all(|page| page.ends_with("is: 1")),
            "{:?}",
            answers.pages()
        );
        assert_eq!(
            failed_hooks(&done),
            ["\"h4\" \"before_start\" [\"connecting\",\"no database\"]"]
        );
        assert!(
            done.stdout
                .contains("the before_start hook exited with status 3: no database")
        );
        assert_eq!(pids(&fleet), before, "the old processes keep running");
        project.assert_settled("1", 3);
    });
}

#[test]
fn failed_after_start_hook_stops_new_instance() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let before = pids(&fleet);
        let project = with_hooks(project, &[("after_start", "echo too cold; exit 1")]);
        let done = deploy_json(&project, "2").exits(3);
        assert_eq!(
            failed_hooks(&done),
            ["\"h4\" \"after_start\" [\"too cold\"]"]
        );
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
fn hanging_before_stop_hook_is_killed_and_stop_continues() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let hang = "trap : TERM; echo waiting; while :; do sleep 60; done";
        let project = with_hooks(
            project.with("replicas = 3", "replicas = 1"),
            &[("before_stop", hang)],
        );
        project.deploy("1").exits(0);
        let began = Instant::now();
        let monitor = monitor_all(&fleet);
        let done = deploy_json(&project, "2").exits(0);
        let answers = monitor.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            (Duration::from_secs(2)..Duration::from_secs(40)).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
        // Some shells print more when they are killed.
        let failed = failed_hooks(&done);
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

/// The processes of the service on each host.
fn pids(fleet: &Fleet) -> Vec<String> {
    fleet
        .hosts
        .iter()
        .map(|host| host.exec("pgrep -f '[p]age.py'").stdout)
        .collect()
}

#[test]
fn migration_runs_once_on_one_host_as_service_user() {
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
            .prints(&["expand add-email: done in "]);
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
        // Without a history, ship reads from the first host that the migration is done.
        std::fs::remove_dir_all(project.path(".ship")).expect("a directory of the test");
        project.release("3", Behaviour::Good);
        project
            .deploy("3")
            .exits(0)
            .prints(&["expand add-email: already done"]);
        assert_eq!(
            first.exec("cat /tmp/made").exits(0).stdout,
            "ship-page\n1\n"
        );
    });
}
