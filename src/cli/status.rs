//! `ship status`: what runs where. It looks at the hosts, takes no lock and changes nothing.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use super::args::{Form, Status as Args};
use super::exit::{Exit, Fail};
use super::session::{Session, who};
use super::{print, signals};
use crate::config::Overrides;
use crate::core::event::{Entry, Event, Generation};
use crate::core::failure::Outcome;
use crate::core::release::Definition;
use crate::core::status::{Marks, Scene, State, Status};
use crate::engine::{Hosts, preflight};
use crate::report;
use crate::store::Store;

const REFRESH: Duration = Duration::from_secs(1);

pub(super) async fn run(args: Args) -> Result<Exit, Fail> {
    let mut session = Session::open(args.inventory, Overrides::default())?;
    let definitions = session.definitions();
    let world = session.world(definitions.clone())?;
    let exit = if args.watch {
        watch(&mut session, &world, &definitions, args.output).await
    } else {
        let shown = show(&session, &world, &definitions, args.output, "").await;
        shown.map(|()| Exit::Done)
    };
    world.close().await;
    exit
}

async fn watch(
    session: &mut Session,
    world: &std::sync::Arc<Hosts>,
    definitions: &BTreeMap<crate::core::names::ReleaseId, Definition>,
    form: Form,
) -> Result<Exit, Fail> {
    let mut interrupts = signals::listen()?;
    let clear = if std::io::stdout().is_terminal() && form == Form::Text { "\x1b[H\x1b[2J" } else { "" };
    loop {
        session.revisions = session.store.revisions(&session.subject)?;
        tokio::select! {
            shown = show(session, world, definitions, form, clear) => shown?,
            _ = interrupts.recv() => return Ok(Exit::Done),
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = interrupts.recv() => return Ok(Exit::Done),
        }
    }
}

async fn show(
    session: &Session,
    world: &std::sync::Arc<Hosts>,
    definitions: &BTreeMap<crate::core::names::ReleaseId, Definition>,
    form: Form,
    clear: &str,
) -> Result<(), Fail> {
    let status = observe(session, world, definitions).await?;
    let text = match form {
        Form::Json => format!("{}\n", serde_json::to_string(&status).unwrap_or_default()),
        Form::Text => format!("{clear}{}", report::table::status(&status)),
    };
    print(&text).map(drop)
}

async fn observe(
    session: &Session,
    world: &std::sync::Arc<Hosts>,
    definitions: &BTreeMap<crate::core::names::ReleaseId, Definition>,
) -> Result<Status, Fail> {
    let spec = session.spec(definitions)?;
    let found = preflight(world, &spec.hosts, definitions, &*session.clock).await;
    let (_, here) = who();
    let journal = session.store.newest_journal(&session.subject)?.unwrap_or_default();
    let is_running = session.store.holder(&session.subject, &here, session.now())?.is_some();
    let mut marks = Marks::default();
    if is_running {
        journal.iter().for_each(|entry| marks.apply(entry));
    }
    let target = target(session, &journal, is_running);
    let versions = definitions.iter().map(|(id, definition)| (id.clone(), definition.version.clone())).collect();
    Ok(Status::of(&Scene {
        service: &session.subject.service,
        fleet_name: &session.subject.fleet,
        hosts: &session.addresses(),
        fleet: &found.fleet,
        versions: &versions,
        target: target.as_ref(),
        budget: spec.budget,
        min_ready: spec.min_ready,
        thresholds: &spec.thresholds,
        state: state(session, &journal, is_running),
        marks: &marks,
        holds: &BTreeMap::new(),
        now: session.now(),
    }))
}

/// Where a running rollout goes; else the revision that the fleet is on.
fn target(session: &Session, journal: &[Entry], is_running: bool) -> Option<Generation> {
    let under_way = journal.first().filter(|_| is_running).and_then(|entry| {
        let mut rollout = crate::core::rollout::Rollout::begin(entry)?;
        journal.iter().skip(1).for_each(|entry| rollout.apply(entry));
        rollout.outcome.is_none().then(|| rollout.target().clone())
    });
    under_way.or_else(|| {
        session.current().map(|record| Generation {
            revision: record.revision,
            release: record.release.clone(),
            version: record.definition.version.clone(),
        })
    })
}

fn state(session: &Session, journal: &[Entry], is_running: bool) -> State {
    let ended = journal.iter().rev().find_map(|entry| match &entry.event {
        Event::RolloutFinished { outcome } => Some(outcome),
        _ => None,
    });
    match ended {
        None if is_running => State::Running,
        None if session.revisions.is_empty() => State::Idle,
        None | Some(Outcome::Interrupted | Outcome::Fenced { .. }) => State::Paused,
        Some(Outcome::Succeeded) => State::Idle,
        Some(Outcome::Held { .. }) => State::Held,
        Some(Outcome::RolledBack | Outcome::RollbackFailed { .. }) => State::Failed,
    }
}
