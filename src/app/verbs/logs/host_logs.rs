//! Reads and follows the logs of the instances of one host.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::filter::SlotSelection;
use super::request::LogRequest;
use crate::app::environment::Environment;
use crate::app::notice::Notice;
use crate::core::ids::{HostId, SlotNumber};
use crate::core::time::Time;
use crate::engine::FleetExecutor;
use crate::remote::HEARTBEAT;
use crate::script::{self, CapturedLog, Follow, LogLine, LogQuery, LogRange};

const LINES_DEFAULT: u32 = 100;
/// The default with `--since`, which limits the memory use.
const LINES_SINCE_DEFAULT: u32 = 10_000;
/// Lines in one batch.
pub(super) const BATCH_LINES_MAX: usize = 4096;
/// Journal cursors that are remembered to recognize repeated entries.
const CURSORS_MAX: usize = 50_000;
/// Delay between two attempts to reach a lost host.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Missed heartbeats after which a host stops sending.
const HEARTBEATS_MISSED_MAX: u32 = 3;

/// A line that an instance wrote, or that its supervisor wrote about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceLine {
    /// `None` if the line has no timestamp.
    pub at: Option<Time>,
    pub host: HostId,
    pub number: Option<SlotNumber>,
    pub text: String,
}

/// The logs of the instances of one host.
pub(super) struct HostLogs<'a> {
    pub(super) env: &'a dyn Environment,
    pub(super) executor: &'a FleetExecutor,
    pub(super) host: &'a HostId,
    pub(super) selection: &'a SlotSelection,
    /// The drivers that may supervise the instances.
    pub(super) drivers: &'a BTreeSet<&'static str>,
    pub(super) request: &'a LogRequest,
}

impl HostLogs<'_> {
    /// Reads the past lines; an error says why the host is unreachable.
    pub(super) async fn read(&self) -> Result<Vec<InstanceLine>, String> {
        let query = self.query(self.selection.past.clone());
        if query.history_slots.is_empty() {
            return Ok(Vec::new());
        }
        let (sender, mut receiver) = mpsc::channel(BATCH_LINES_MAX);
        let finished = async {
            let finished = self
                .executor
                .stream(self.host, |site| script::logs(site, &query), &sender)
                .await;
            drop(sender);
            finished
        };
        let collected = async {
            let mut lines = Vec::new();
            while let Some(line) = receiver.recv().await {
                if let Some(LogLine::Line(line)) = script::read_log_line(&line) {
                    lines.push(instance_line(self.host, line));
                }
            }
            lines
        };
        let (finished, lines) = tokio::join!(finished, collected);
        finished.map(|()| lines).map_err(|unusable| unusable.why)
    }

    /// Follows the host and reconnects after every loss. `lost` is the reason if the host is
    /// unreachable at first.
    pub(super) async fn follow(&self, lost: Option<&str>, lines: mpsc::Sender<InstanceLine>) {
        let mut follower = Follower {
            env: self.env,
            host: self.host,
            is_lost: false,
            resume: None,
            cursors: HashSet::new(),
        };
        if let Some(why) = lost {
            follower.mark_lost(why);
        }
        let mut past = self.selection.past.clone();
        loop {
            let query = self.query(std::mem::take(&mut past));
            let finished = self.listen(&query, &mut follower, &lines).await;
            // The host was never reached, so its past lines are still to be shown.
            if follower.is_lost {
                past = query.history_slots;
            }
            if let Err(why) = finished {
                follower.mark_lost(&why);
            }
            sleep(RETRY_DELAY).await;
        }
    }

    /// Forwards new lines until the host is lost; the error is the reason.
    async fn listen(
        &self,
        query: &LogQuery,
        follower: &mut Follower<'_>,
        lines: &mpsc::Sender<InstanceLine>,
    ) -> Result<(), String> {
        let follow = Follow {
            slots: self.selection.followed.clone(),
            drivers: self.drivers.clone(),
            resume: follower.resume,
            silence: HEARTBEAT * HEARTBEATS_MISSED_MAX,
        };
        let (sender, mut receiver) = mpsc::channel(BATCH_LINES_MAX);
        let finished = async {
            let finished = self
                .executor
                .stream(
                    self.host,
                    |site| script::follow(site, query, &follow),
                    &sender,
                )
                .await;
            drop(sender);
            finished
        };
        let forwarded = async {
            while let Some(line) = receiver.recv().await {
                let Some(line) = follower.take(&line) else {
                    continue;
                };
                if lines.send(line).await.is_err() {
                    break;
                }
            }
        };
        let (finished, ()) = tokio::join!(finished, forwarded);
        finished.map_err(|unusable| unusable.why)
    }

    fn query(&self, history_slots: BTreeSet<SlotNumber>) -> LogQuery {
        let default = if self.request.since.is_some() {
            LINES_SINCE_DEFAULT
        } else {
            LINES_DEFAULT
        };
        LogQuery {
            history_slots,
            lines_max: self.request.lines.unwrap_or(default),
            range: self
                .request
                .since
                .map_or(LogRange::Instance, LogRange::Since),
        }
    }
}

/// The state of following a host.
struct Follower<'a> {
    env: &'a dyn Environment,
    host: &'a HostId,
    is_lost: bool,
    /// The timestamp of the newest line.
    resume: Option<Time>,
    /// The entries that were shown already.
    cursors: HashSet<String>,
}

impl Follower<'_> {
    fn mark_lost(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_lost, true) {
            self.env.notify(&Notice::LogHostLost(why.to_owned()));
        }
    }

    /// Parses a line; `None` if it is not to be shown.
    fn take(&mut self, line: &str) -> Option<InstanceLine> {
        match script::read_log_line(line)? {
            LogLine::Started => {
                if std::mem::take(&mut self.is_lost) {
                    self.env
                        .notify(&Notice::LogHostRecovered(self.host.clone()));
                }
                None
            }
            LogLine::Live => None,
            LogLine::Line(line) => {
                let is_new = line
                    .cursor
                    .as_ref()
                    .is_none_or(|cursor| self.cursors.insert(cursor.clone()));
                self.resume = self.resume.max(line.at);
                // Only the entries of the second in which following starts can be repeated, so
                // older cursors are not needed.
                if self.cursors.len() > CURSORS_MAX {
                    self.cursors.clear();
                }
                is_new.then(|| instance_line(self.host, line))
            }
        }
    }
}

fn instance_line(host: &HostId, line: CapturedLog) -> InstanceLine {
    InstanceLine {
        at: line.at,
        host: host.clone(),
        number: line.number,
        text: line.text,
    }
}
