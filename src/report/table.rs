//! The tables of `ship status` and `ship history`.

use serde::{Serialize, Serializer};
use std::time::Duration;

use super::clock::{self, LocalClock};
use super::{columns, text};
use crate::core::ids::{HostId, ReleaseId, Revision};
use crate::core::journal::status::{InstanceStatus, Status, StatusRow};
use crate::core::rollout::verb::Verb;
use crate::core::stack::DeploymentNumber;
use crate::core::time::{Human, Time};

/// The headings of the table of instances.
pub const INSTANCE_COLUMNS: [&str; 9] = [
    "INSTANCE", "READY", "STATUS", "RESTARTS", "AGE", "ADDRESS", "HOST", "VERSION", "REVISION",
];

/// The index of `STATUS` in [`INSTANCE_COLUMNS`].
const STATUS_COLUMN: usize = 2;

const HISTORY_COLUMNS: [&str; 8] = [
    "REVISION", "VERSION", "DIGEST", "WHEN", "DURATION", "WHO", "OUTCOME", "REASON",
];

/// The most hosts that are named for one wait reason.
const HOSTS_NAMED_MAX: usize = 3;

/// One entry of the history. Its JSON keys are stable; keys may be added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryRow {
    pub revision: Revision,
    pub version: String,
    /// The full digest of its release.
    pub digest: ReleaseId,
    /// Who deployed it: `anna@laptop`.
    pub who: String,
    /// The start of its rollout; in JSON as RFC 3339 in UTC.
    #[serde(serialize_with = "as_rfc3339")]
    pub when: Time,
    /// The duration of its rollout in seconds; `None` while it runs.
    pub duration_s: Option<f64>,
    /// The text of `--reason`.
    pub reason: Option<String>,
    /// The outcome in one word; `running` before the end.
    pub outcome: String,
    /// `deploy`, `rollback`, `restart`, `scale` or `contract`.
    pub verb: Verb,
    /// The number of instances; `None` if it is not on record.
    pub replicas: Option<u32>,
    /// The hosts that the command of `[hosts_from]` printed; `None` if it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts_from: Option<Vec<String>>,
    /// The deployment that made it, in a stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentNumber>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields by reference"
)]
fn as_rfc3339<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&clock::rfc3339(*time))
}

/// The output of `ship status`: the table of instances, the status sentence, and the hosts that
/// wait.
pub fn status(status: &Status, clock: &LocalClock) -> String {
    let mut lines = Vec::new();
    if !status.instances.is_empty() {
        let header = INSTANCE_COLUMNS.map(str::to_owned).to_vec();
        let rows: Vec<_> = [header]
            .into_iter()
            .chain(status.instances.iter().map(|row| {
                let mut cells = instance_cells(row);
                cells[STATUS_COLUMN] = status_text(row, clock);
                cells
            }))
            .collect();
        lines.extend(columns::lines(&rows));
        lines.push(String::new());
    }
    lines.push(text::clean(&status.sentence()));
    lines.extend(wait_reasons(status));
    columns::joined(&lines)
}

/// One line per reason: `web3   unreachable for 3m: connection timed out`.
pub fn wait_reasons(status: &Status) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&HostId>)> = Vec::new();
    for wait in &status.holds {
        match reasons.iter_mut().find(|(why, _)| *why == wait.why) {
            Some((_, hosts)) => hosts.push(&wait.host),
            None => reasons.push((&wait.why, vec![&wait.host])),
        }
    }
    let cells = reasons
        .iter()
        .map(|(why, hosts)| vec![named(hosts), text::clean(why)]);
    columns::lines(&cells.collect::<Vec<_>>())
}

/// `web1, web2, web3 and 477 more`.
fn named(hosts: &[&HostId]) -> String {
    let shown = hosts.len().min(HOSTS_NAMED_MAX);
    let names = hosts[..shown]
        .iter()
        .map(|host| text::clean(host.as_str()))
        .collect::<Vec<_>>()
        .join(", ");
    match hosts.len() - shown {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// The status of an instance, with the times of one that lingers: `Lingering 2h13m, ends by 04:10`.
fn status_text(row: &StatusRow, clock: &LocalClock) -> String {
    let Some((lingering, for_s)) = row
        .lingering
        .and_then(|lingering| Some((lingering, lingering.for_s?)))
    else {
        return row.status.to_string();
    };
    let lasts = Human(Duration::from_secs(for_s));
    match row.status {
        InstanceStatus::Lingering => {
            let ends_by = clock.hours_and_minutes(lingering.ends_by);
            format!("{} {lasts}, ends by {ends_by}", row.status)
        }
        status => format!("{status} after {lasts}"),
    }
}

/// The cells of one instance, in the order of [`INSTANCE_COLUMNS`].
pub fn instance_cells(row: &StatusRow) -> Vec<String> {
    let address = if row.address.contains(':') {
        format!("[{}]", row.address)
    } else {
        row.address.clone()
    };
    vec![
        text::clean(row.name.as_str()),
        if row.ready { "1/1" } else { "0/1" }.to_owned(),
        row.status.to_string(),
        row.restarts.to_string(),
        text::age(row.age_s),
        text::clean(&match row.port {
            Some(port) => format!("{address}:{port}"),
            None => format!("{address} slot {}", row.slot),
        }),
        text::clean(row.host.as_str()),
        text::clean(&row.version),
        row.revision.to_string(),
    ]
}

/// The output of `ship history`. The rows keep their order: newest first.
pub fn history(rows: &[HistoryRow], clock: &LocalClock) -> String {
    if rows.is_empty() {
        return "no revision has been deployed yet\n".to_owned();
    }
    let header = HISTORY_COLUMNS.map(str::to_owned).to_vec();
    let cells: Vec<_> = [header]
        .into_iter()
        .chain(rows.iter().map(|row| history_cells(row, clock)))
        .collect();
    columns::joined(&columns::lines(&cells))
}

fn history_cells(row: &HistoryRow, clock: &LocalClock) -> Vec<String> {
    let duration = row
        .duration_s
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    vec![
        row.revision.to_string(),
        text::clean(&row.version),
        text::clean(row.digest.short()),
        clock.day_and_time(row.when),
        duration.map_or_else(|| "-".to_owned(), |duration| Human(duration).to_string()),
        text::clean(&row.who),
        text::clean(&row.outcome),
        row.reason
            .as_deref()
            .map_or_else(|| "-".to_owned(), text::clean),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::core::journal::status::{HostWait, InstanceStatus};

    #[test]
    fn status_shows_the_table_and_the_sentence_of_kubectl() {
        let mut status = testing::status("0.9", 2);
        status.instances = vec![
            testing::row(
                "testpage-230767614a-fm0m1",
                "node1",
                "0.8",
                InstanceStatus::Stopping,
                7 * 60,
            ),
            testing::row(
                "testpage-230767614a-glvbz",
                "node2",
                "0.8",
                InstanceStatus::Running,
                7 * 60,
            ),
            testing::row(
                "testpage-230767614a-hpx9s",
                "node3",
                "0.8",
                InstanceStatus::Running,
                7 * 60,
            ),
            testing::row(
                "testpage-515849216a-059b0",
                "node4",
                "0.9",
                InstanceStatus::Running,
                41,
            ),
            testing::row(
                "testpage-515849216a-1sf6b",
                "node1",
                "0.9",
                InstanceStatus::Creating,
                1,
            ),
        ];
        status.instances[4].port = Some(8082);
        testing::count(&mut status);
        insta::assert_snapshot!(super::status(&status, &LocalClock::ahead(0)), @r#"
        INSTANCE                    READY   STATUS     RESTARTS   AGE   ADDRESS           HOST    VERSION   REVISION
        testpage-230767614a-fm0m1   1/1     Stopping   0          7m    127.0.0.11:8081   node1   0.8       1
        testpage-230767614a-glvbz   1/1     Running    0          7m    127.0.0.12:8081   node2   0.8       1
        testpage-230767614a-hpx9s   1/1     Running    0          7m    127.0.0.13:8081   node3   0.8       1
        testpage-515849216a-059b0   1/1     Running    0          41s   127.0.0.14:8081   node4   0.9       2
        testpage-515849216a-1sf6b   0/1     Creating   0          1s    127.0.0.11:8082   node1   0.9       2

        Waiting for deployment "testpage" rollout to finish: 2 out of 3 new replicas have been updated...
        "#);
    }

    #[test]
    fn status_shows_unreachable_hosts_below_the_table() {
        let mut status = testing::status("0.9", 2);
        status.instances = vec![testing::row(
            "testpage-1",
            "web3",
            "0.9",
            InstanceStatus::Unknown,
            3 * 86_400,
        )];
        status.instances[0].address = "fd00::3".into();
        status.holds = vec![
            HostWait {
                host: "web3".into(),
                why: "unreachable for 3m: connection timed out".into(),
            },
            HostWait {
                host: "web10".into(),
                why: "its disk is full".into(),
            },
        ];
        status.holds.extend((20..25).map(|n| HostWait {
            host: format!("web{n}").into(),
            why: "waiting for capacity".into(),
        }));
        testing::count(&mut status);
        insta::assert_snapshot!(super::status(&status, &LocalClock::ahead(0)), @r#"
        INSTANCE     READY   STATUS    RESTARTS   AGE   ADDRESS          HOST   VERSION   REVISION
        testpage-1   0/1     Unknown   0          3d    [fd00::3]:8081   web3   0.9       2

        Waiting for deployment "testpage" rollout to finish: 1 out of 3 new replicas have been updated...
        web3                             unreachable for 3m: connection timed out
        web10                            its disk is full
        web20, web21, web22 and 2 more   waiting for capacity
        "#);
    }

    fn row(
        revision: u32,
        version: &str,
        duration_s: Option<f64>,
        outcome: &str,
        reason: Option<&str>,
    ) -> HistoryRow {
        HistoryRow {
            revision: Revision(revision),
            version: version.into(),
            digest: testing::release(version),
            who: "anna@laptop".into(),
            when: Time(testing::START.0 + u64::from(revision) * 3_600_000),
            duration_s,
            reason: reason.map(str::to_owned),
            outcome: outcome.into(),
            verb: Verb::Deploy,
            replicas: None,
            hosts_from: None,
            deployment: None,
        }
    }

    #[test]
    fn history_shows_user_time_duration_and_reason() {
        let rows = [
            row(3, "0.10", None, "running", Some("ticket 42:\nfaster pages")),
            row(2, "0.9", Some(34.2), "rolled-back", None),
            row(1, "0.8", Some(4.25), "succeeded", Some("first")),
        ];
        insta::assert_snapshot!(history(&rows, &LocalClock::ahead(8)), @r"
        REVISION   VERSION   DIGEST       WHEN                  DURATION   WHO           OUTCOME       REASON
        3          0.10      77777777aa   2017-03-09 13:42:24   -          anna@laptop   running       ticket 42: faster pages
        2          0.9       515849216a   2017-03-09 12:42:24   34s        anna@laptop   rolled-back   -
        1          0.8       230767614a   2017-03-09 11:42:24   4.2s       anna@laptop   succeeded     first
        ");
        assert_eq!(
            history(&[], &LocalClock::ahead(8)),
            "no revision has been deployed yet\n"
        );
    }

    #[test]
    fn history_json_has_the_documented_keys() {
        let json = serde_json::to_string(&row(2, "0.9", Some(4.25), "succeeded", None)).unwrap();
        let digest = testing::release("0.9");
        assert_eq!(
            json,
            format!(
                r#"{{"revision":2,"version":"0.9","digest":"{digest}","who":"anna@laptop","when":"2017-03-09T04:42:24.000Z","duration_s":4.25,"reason":null,"outcome":"succeeded","verb":"deploy","replicas":null}}"#
            )
        );
    }
}
