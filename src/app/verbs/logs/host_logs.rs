//! What the instances of one host write.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::filter::Choice;
use super::request::LogRequest;
use crate::app::environment::Environment;
use crate::app::notice::Notice;
use crate::core::ids::{HostId, Port};
use crate::core::time::Time;
use crate::engine::FleetExecutor;
use crate::remote::HEARTBEAT;
use crate::script::{self, CapturedLog, Follow, LogLine, LogQuery};

const LINES: u32 = 100;
/// With `--since`, a bound on memory.
const LINES_SINCE: u32 = 10_000;
/// Lines in one batch.
pub(super) const LINES_TOGETHER: usize = 4096;
/// Journal cursors that are remembered to recognize repeated entries.
const CURSORS_MAX: usize = 50_000;
/// Between two tries to reach a host that was lost.
const AGAIN: Duration = Duration::from_secs(2);
/// Missed heartbeats after which a host stops sending.
const BEATS_MISSED: u32 = 3;

/// A line that an instance has written, or that was written about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceLine {
    /// `None` where the line has no time.
    pub at: Option<Time>,
    pub host: HostId,
    pub port: Option<Port>,
    pub text: String,
}

/// The logs of the instances of one host.
pub(super) struct HostLogs<'a> {
    pub(super) env: &'a dyn Environment,
    pub(super) world: &'a FleetExecutor,
    pub(super) host: &'a HostId,
    pub(super) choice: &'a Choice,
    /// What may supervise the instances.
    pub(super) drivers: &'a BTreeSet<&'static str>,
    pub(super) request: &'a LogRequest,
}

impl HostLogs<'_> {
    /// Reads what was written; or why that is not possible.
    pub(super) async fn read(&self) -> Result<Vec<InstanceLine>, String> {
        let query = self.query(self.choice.past.clone());
        if query.past.is_empty() {
            return Ok(Vec::new());
        }
        let (sender, mut receiver) = mpsc::channel(LINES_TOGETHER);
        let heard = async {
            let heard = self
                .world
                .listen(self.host, |site| script::logs(site, &query), &sender)
                .await;
            drop(sender);
            heard
        };
        let gathered = async {
            let mut said = Vec::new();
            while let Some(line) = receiver.recv().await {
                if let Some(LogLine::Line(line)) = script::read_log_line(&line) {
                    said.push(of(self.host, line));
                }
            }
            said
        };
        let (heard, said) = tokio::join!(heard, gathered);
        heard.map(|()| said).map_err(|unusable| unusable.why)
    }

    /// Follows the host through every loss of it; `lost` says why it cannot be reached at first.
    pub(super) async fn follow(&self, lost: Option<&str>, lines: mpsc::Sender<InstanceLine>) {
        let mut follower = Follower {
            env: self.env,
            host: self.host,
            is_lost: false,
            resume: None,
            cursors: HashSet::new(),
        };
        if let Some(why) = lost {
            follower.lose(why);
        }
        let mut past = self.choice.past.clone();
        loop {
            let query = self.query(std::mem::take(&mut past));
            let heard = self.listen(&query, &mut follower, &lines).await;
            // It never came so far: its past is still to be shown.
            if follower.is_lost {
                past = query.past;
            }
            if let Err(why) = heard {
                follower.lose(&why);
            }
            sleep(AGAIN).await;
        }
    }

    /// Passes on what is new until the host is lost; or says why it is.
    async fn listen(
        &self,
        query: &LogQuery,
        follower: &mut Follower<'_>,
        lines: &mpsc::Sender<InstanceLine>,
    ) -> Result<(), String> {
        let follow = Follow {
            slots: self.choice.followed.clone(),
            drivers: self.drivers.clone(),
            resume: follower.resume,
            silence: HEARTBEAT * BEATS_MISSED,
        };
        let (sender, mut receiver) = mpsc::channel(LINES_TOGETHER);
        let heard = async {
            let heard = self
                .world
                .listen(
                    self.host,
                    |site| script::follow(site, query, &follow),
                    &sender,
                )
                .await;
            drop(sender);
            heard
        };
        let passed_on = async {
            while let Some(line) = receiver.recv().await {
                let Some(line) = follower.take(&line) else {
                    continue;
                };
                if lines.send(line).await.is_err() {
                    break;
                }
            }
        };
        let (heard, ()) = tokio::join!(heard, passed_on);
        heard.map_err(|unusable| unusable.why)
    }

    fn query(&self, past: BTreeSet<Port>) -> LogQuery {
        let default = if self.request.since.is_some() {
            LINES_SINCE
        } else {
            LINES
        };
        LogQuery {
            past,
            lines_max: self.request.lines.unwrap_or(default),
            since: self.request.since,
        }
    }
}

/// What is known of a host that is followed.
struct Follower<'a> {
    env: &'a dyn Environment,
    host: &'a HostId,
    is_lost: bool,
    /// The newest moment that it has told of.
    resume: Option<Time>,
    /// The entries that were read before it was followed.
    cursors: HashSet<String>,
}

impl Follower<'_> {
    fn lose(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_lost, true) {
            self.env.tell(&Notice::LogHostLost(why.to_owned()));
        }
    }

    /// The next line to show, if it is one.
    fn take(&mut self, line: &str) -> Option<InstanceLine> {
        match script::read_log_line(line)? {
            LogLine::Started => {
                if std::mem::take(&mut self.is_lost) {
                    self.env.tell(&Notice::LogHostFound(self.host.clone()));
                }
                None
            }
            LogLine::Live => None,
            LogLine::Line(said) => {
                let is_news = said
                    .cursor
                    .as_ref()
                    .is_none_or(|cursor| self.cursors.insert(cursor.clone()));
                self.resume = self.resume.max(said.at);
                // Those of the second in which a follower begins come twice, and no older ones.
                if self.cursors.len() > CURSORS_MAX {
                    self.cursors.clear();
                }
                is_news.then(|| of(self.host, said))
            }
        }
    }
}

fn of(host: &HostId, said: CapturedLog) -> InstanceLine {
    InstanceLine {
        at: said.at,
        host: host.clone(),
        port: said.port,
        text: said.text,
    }
}
