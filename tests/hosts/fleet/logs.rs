//! `ship logs` of instances on hosts with a journal.

use std::time::Duration;

use serde_json::Value;

use super::four_hosts;
use ship_testing::command::Running;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;

const DEADLINE: Duration = Duration::from_secs(20);
/// The time after which a follower on a host ends without a connection, half a minute, and a
/// margin.
const FOLLOWER_TIMEOUT: Duration = Duration::from_secs(45);

#[track_caller]
fn await_stdout(running: &mut Running, words: &str) {
    namespace::until(words, DEADLINE, || {
        running.stdout_so_far().contains(words).then_some(())
    });
}

fn is_followed(host: &Host) -> bool {
    host.exec("pgrep -f '[j]ournalctl.*--follow'").code == Some(0)
}

#[track_caller]
fn await_no_followers(fleet: &Fleet, within: Duration) {
    namespace::until("no follower is left", within, || {
        (!fleet.hosts.iter().any(is_followed)).then_some(())
    });
}

#[test]
fn logs_are_merged_by_time() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let done = project.ship("logs", &["--output", "json"]).exits(0);
        let lines: Vec<Value> = done
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let starts = lines
            .iter()
            .filter(|line| line["text"] == "page 1 starts, its behaviour is good");
        let hosts: Vec<_> = starts
            .map(|line| line["host"].as_str().expect("a host"))
            .collect();
        assert_eq!(hosts.len(), 3, "{}", done.stdout);
        let times: Vec<_> = lines
            .iter()
            .map(|line| line["at"].as_u64().expect("a moment"))
            .collect();
        assert!(times.is_sorted(), "{times:?}");
        assert!(
            lines.iter().all(|line| line["port"] == 8081),
            "{}",
            done.stdout
        );

        let text = project.ship("logs", &["h1"]).exits(0).stdout;
        let start = |line: &str| {
            line.starts_with("20")
                && line.ends_with("  h1:8081  page 1 starts, its behaviour is good")
        };
        assert!(text.lines().any(start), "{text}");
        assert_eq!(
            project
                .ship("logs", &["--since", "2100-01-01"])
                .exits(0)
                .stdout,
            ""
        );

        // An unreachable host does not prevent the output of the others.
        fleet.hosts[1].disconnect();
        let done = project
            .ship("logs", &[])
            .exits(7)
            .prints(&["error: cannot read the logs of 1 of 4 hosts", "h2: "]);
        assert!(
            done.stdout.contains("h1:8081  page 1 starts")
                && done.stdout.contains("h3:8081  page 1 starts")
        );
        let done = project.ship("logs", &["h1"]).exits(0);
        assert_eq!(done.stderr, "");
    });
}

#[test]
fn logs_follow_new_instances_and_clean_up_on_hosts() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let mut logs = project.start("logs", &["--follow"]);
        await_stdout(&mut logs, "h3:8081  page 1 starts");
        namespace::until("all are followed", DEADLINE, || {
            fleet.hosts.iter().all(is_followed).then_some(())
        });
        project.deploy("2").exits(0);
        for words in [
            "h4:8081  page 2 starts",
            "h1:8081  page 2 starts",
            "h2:8081  page 2 starts",
        ] {
            await_stdout(&mut logs, words);
        }
        logs.signal("INT");
        let done = logs.wait().exits(0);
        assert_eq!(done.stderr, "");
        for version in [1, 2] {
            let words = format!("page {version} starts");
            assert_eq!(done.stdout.matches(&words).count(), 3, "{}", done.stdout);
        }
        await_no_followers(&fleet, DEADLINE);

        let logs = project.start("logs", &["--follow"]);
        namespace::until("all are followed", DEADLINE, || {
            fleet.hosts.iter().all(is_followed).then_some(())
        });
        logs.signal("KILL");
        await_no_followers(&fleet, DEADLINE);
    });
}

#[test]
fn logs_reconnect_and_follower_on_host_times_out() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let mut logs = project.start("logs", &["--follow"]);
        await_stdout(&mut logs, "h3:8081  page 1 starts");
        let host = &fleet.hosts[0];
        namespace::until("it is followed", DEADLINE, || {
            is_followed(host).then_some(())
        });
        host.disconnect();
        logs.await_words_within("; retrying", FOLLOWER_TIMEOUT);
        namespace::until("the follower has exited", FOLLOWER_TIMEOUT, || {
            (!is_followed(host)).then_some(())
        });
        // The journal gets new lines while the host is unreachable.
        host.exec("systemctl kill --signal=TERM ship-page@8081.service")
            .exits(0);
        namespace::until("it is started again", DEADLINE, || {
            let starts = host.exec(
                "journalctl --unit=ship-page@8081.service --output=cat | grep -c 'page 1 starts'",
            );
            (starts.stdout.trim() == "2").then_some(())
        });
        host.reconnect();
        logs.await_words_within("h1: reachable again", FOLLOWER_TIMEOUT);
        let seen = |logs: &mut Running| {
            logs.stdout_so_far()
                .matches("h1:8081  page 1 starts")
                .count()
        };
        namespace::until("the missed lines", DEADLINE, || {
            (seen(&mut logs) == 2).then_some(())
        });
        logs.signal("INT");
        logs.wait().exits(0);
    });
}
