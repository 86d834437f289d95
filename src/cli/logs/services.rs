//! What the instances write, of all hosts together.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout_at};

use super::super::exit::{Exit, Fail};
use super::super::output::note;
use super::super::terminal;
use super::choice::{self, Choice, Seen};
use super::page::{Line, Page};
use super::request::LogRequest;
use crate::app::ownership;
use crate::app::session::Session;
use crate::core::fleet::{Observation, Occupant};
use crate::core::ids::{HostId, InstanceId, Port};
use crate::core::policy::admission::refusal::host_line;
use crate::core::time::Time;
use crate::engine::{Executor as _, FleetExecutor};
use crate::remote::BEAT;
use crate::script::{self, Follow, LogLine, LogQuery, Said};

const LINES: u32 = 100;
/// Where it is said from when on, the number only keeps the memory.
const LINES_SINCE: u32 = 10_000;
/// How long lines wait for older ones of other hosts.
const TOGETHER: Duration = Duration::from_millis(150);
/// So many at a time.
const LINES_TOGETHER: usize = 4096;
/// So many entries are known again.
const CURSORS_MAX: usize = 50_000;
/// Between two tries to reach a host that was lost.
const AGAIN: Duration = Duration::from_secs(2);
/// After so many beats that were not heard a host takes it that nobody listens.
const BEATS_MISSED: u32 = 3;

/// Shows the instances that the words mean.
pub(super) async fn show(
    session: &Session,
    words: &[String],
    wanted: &LogRequest,
) -> Result<Exit, Fail> {
    let world = Arc::new(session.fleet_hosts());
    show_of(session, &world, words, wanted).await
}

async fn show_of(
    session: &Session,
    world: &Arc<FleetExecutor>,
    words: &[String],
    wanted: &LogRequest,
) -> Result<Exit, Fail> {
    let hosts = session.hosts();
    let ports = &session.ports(&session.definitions());
    let looks = join_all(hosts.iter().map(|host| world.observe_host(host))).await;
    let seen = hosts
        .iter()
        .zip(&looks)
        .filter_map(|(host, look)| Some((host, look.as_ref().ok()?)));
    let owners = seen
        .clone()
        .filter_map(|(host, seen)| Some((host.clone(), seen.owner.clone()?)))
        .collect();
    let identities = seen
        .filter_map(|(host, seen)| Some((host.clone(), seen.identity.clone()?)))
        .collect();
    ownership::permit(session, &owners, &identities)?;
    let mut lost = BTreeMap::new();
    let mut fleet = Vec::new();
    for (host, look) in hosts.iter().zip(looks) {
        let slots = look
            .map(instances)
            .map_err(|unusable| lost.insert(host.clone(), unusable.why))
            .ok();
        fleet.push(Seen {
            host: host.clone(),
            slots,
        });
    }
    // What failed in the night and was stopped since has left its log.
    let choices = choice::choose(words, ports, &fleet, wanted.since.is_some())
        .map_err(|unknown| nothing_meant(&unknown, &fleet))?;
    lost.retain(|host, _| choices.contains_key(host));
    let page = Page::new(wanted.output, &hosts, ports);
    let reading = LogReader {
        world,
        choices,
        drivers: drivers(session),
        wanted,
    };
    if wanted.follow {
        reading.follow(&page, &lost).await
    } else {
        reading.once(&page, &hosts, lost).await
    }
}

fn instances(observation: Observation) -> BTreeMap<Port, InstanceId> {
    let named = |(port, occupant)| match occupant {
        Occupant::Instance(instance) => Some((port, instance.name)),
        Occupant::Stranger(_) => None,
    };
    observation.slots.into_iter().filter_map(named).collect()
}

fn nothing_meant(unknown: &[String], fleet: &[Seen]) -> Fail {
    let known = fleet.iter().flat_map(|seen| {
        seen.slots
            .iter()
            .flatten()
            .map(|(port, name)| format!("\n  {name} at {}:{port}", seen.host))
    });
    let known: String = known.collect();
    let there_is = if known.is_empty() {
        "; no instance is there".to_owned()
    } else {
        format!("; there is:{known}")
    };
    Fail::refused(format!(
        "error: no instance, host or slot is meant by {}{there_is}",
        unknown.join(", ")
    ))
}

/// What supervises the instances of any revision, or of the next.
fn drivers(session: &Session) -> BTreeSet<&'static str> {
    let known = session
        .definitions()
        .into_values()
        .map(|definition| definition.driver);
    known
        .chain([session.project.playbook.service.driver])
        .map(script::log_driver)
        .collect()
}

struct LogReader<'a> {
    world: &'a Arc<FleetExecutor>,
    choices: BTreeMap<HostId, Choice>,
    drivers: BTreeSet<&'static str>,
    wanted: &'a LogRequest,
}

impl LogReader<'_> {
    fn query(&self, past: BTreeSet<Port>) -> LogQuery {
        let default = if self.wanted.since.is_some() {
            LINES_SINCE
        } else {
            LINES
        };
        LogQuery {
            past,
            lines_max: self.wanted.lines.unwrap_or(default),
            since: self.wanted.since,
        }
    }

    // ── once ─────────────────────────────────────────────────────────────────────────────────────

    /// All lines in the order of their times. What has none comes first, host by host, in its own
    /// order.
    async fn once(
        &self,
        page: &Page,
        order: &[HostId],
        mut lost: BTreeMap<HostId, String>,
    ) -> Result<Exit, Fail> {
        let reached: Vec<_> = order
            .iter()
            .filter(|host| self.choices.contains_key(*host) && !lost.contains_key(*host))
            .collect();
        let read = join_all(reached.iter().map(|host| self.read(host))).await;
        let mut lines = Vec::new();
        for (host, read) in reached.into_iter().zip(read) {
            match read {
                Ok(read) => lines.extend(read),
                Err(why) => {
                    lost.insert(host.clone(), why);
                }
            }
        }
        lines.sort_by_key(|line: &Line| line.at);
        if lines.is_empty() && lost.is_empty() {
            note("nothing was written by what is there");
        }
        page.write(&lines)?;
        if lost.is_empty() {
            Ok(Exit::Done)
        } else {
            Err(unreachable(&lost, self.choices.len()))
        }
    }

    async fn read(&self, host: &HostId) -> Result<Vec<Line>, String> {
        let query = self.query(
            self.choices
                .get(host)
                .map(|choice| choice.past.clone())
                .unwrap_or_default(),
        );
        if query.past.is_empty() {
            return Ok(Vec::new());
        }
        let (sender, mut receiver) = mpsc::channel(LINES_TOGETHER);
        let heard = async {
            let heard = self
                .world
                .listen(host, |site| script::logs(site, &query), &sender)
                .await;
            drop(sender);
            heard
        };
        let gathered = async {
            let mut said = Vec::new();
            while let Some(line) = receiver.recv().await {
                if let Some(LogLine::Said(line)) = script::read_log_line(&line) {
                    said.push(of(host, line));
                }
            }
            said
        };
        let (heard, said) = tokio::join!(heard, gathered);
        heard.map(|()| said).map_err(|unusable| unusable.why)
    }

    // ── on and on ────────────────────────────────────────────────────────────────────────────────

    /// Ends when somebody wants it, or nobody reads any more.
    async fn follow(&self, page: &Page, lost: &BTreeMap<HostId, String>) -> Result<Exit, Fail> {
        let mut interrupts = terminal::listen()?;
        let (sender, mut receiver) = mpsc::channel(LINES_TOGETHER);
        let followed = self.choices.iter().map(|(host, choice)| {
            let why = lost.get(host).map(String::as_str);
            self.follow_host(host, choice, why, sender.clone())
        });
        tokio::select! {
            _ = join_all(followed) => Ok(Exit::Done),
            shown = show_as_they_come(page, &mut receiver) => shown,
            _ = interrupts.recv() => Ok(Exit::Done),
        }
    }

    /// Follows a host through every loss of it.
    async fn follow_host(
        &self,
        host: &HostId,
        choice: &Choice,
        lost: Option<&str>,
        lines: mpsc::Sender<Line>,
    ) {
        let mut follower = Follower {
            host,
            is_lost: false,
            resume: None,
            cursors: HashSet::new(),
        };
        if let Some(why) = lost {
            follower.lost(why);
        }
        let mut past = choice.past.clone();
        loop {
            let query = self.query(std::mem::take(&mut past));
            let follow = Follow {
                slots: choice.followed.clone(),
                drivers: self.drivers.clone(),
                resume: follower.resume,
                silence: BEAT * BEATS_MISSED,
            };
            let (sender, mut receiver) = mpsc::channel(LINES_TOGETHER);
            let heard = async {
                let heard = self
                    .world
                    .listen(host, |site| script::follow(site, &query, &follow), &sender)
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
            // It never came so far: its past is still to be shown.
            if follower.is_lost {
                past.clone_from(&query.past);
            }
            if let Err(unusable) = heard {
                follower.lost(&unusable.why);
            }
            sleep(AGAIN).await;
        }
    }
}

/// What is known of a host that is followed.
struct Follower<'a> {
    host: &'a HostId,
    is_lost: bool,
    /// The newest moment that it has told of.
    resume: Option<Time>,
    /// The entries that were read before it was followed.
    cursors: HashSet<String>,
}

impl Follower<'_> {
    fn lost(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_lost, true) {
            note(&format!("{why}; it is tried again"));
        }
    }

    /// The next line to show, if it is one.
    fn take(&mut self, line: &str) -> Option<Line> {
        match script::read_log_line(line)? {
            LogLine::Begun => {
                if std::mem::take(&mut self.is_lost) {
                    note(&format!("{}: found again", self.host));
                }
                None
            }
            LogLine::Live => None,
            LogLine::Said(said) => {
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

async fn show_as_they_come(page: &Page, lines: &mut mpsc::Receiver<Line>) -> Result<Exit, Fail> {
    while let Some(first) = lines.recv().await {
        let mut together = vec![first];
        let until = tokio::time::Instant::now() + TOGETHER;
        while together.len() < LINES_TOGETHER {
            let Ok(Some(line)) = timeout_at(until, lines.recv()).await else {
                break;
            };
            together.push(line);
        }
        // Where one has no time nobody knows where it belongs.
        if together.iter().all(|line| line.at.is_some()) {
            together.sort_by_key(|line| line.at);
        }
        if !page.write(&together)? {
            return Ok(Exit::Done);
        }
    }
    Ok(Exit::Done)
}

fn of(host: &HostId, said: Said) -> Line {
    Line {
        at: said.at,
        host: host.clone(),
        port: said.port,
        text: said.text,
    }
}

fn unreachable(lost: &BTreeMap<HostId, String>, all: usize) -> Fail {
    let mut message = format!(
        "error: {} of {all} hosts cannot be asked for their logs",
        lost.len()
    );
    for (host, why) in lost {
        message.push_str("\n  ");
        message.push_str(&host_line(host, why));
    }
    Fail::new(Exit::Unreachable, message)
}
