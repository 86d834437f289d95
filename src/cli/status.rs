//! `ship status`: what runs where. It looks at the hosts, takes no lock and changes nothing.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use super::adopt::Adopt;
use super::args::{Form, InventoryArg, Status as Args};
use super::exit::{Exit, Fail};
use super::session::{Session, StoreAccess};
use super::{ownership, print, signals};
use crate::config::Overrides;
use crate::core::fleet::Fleet;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::journal::pending_actions::PendingActions;
use crate::core::journal::rollout_summary::Account;
use crate::core::journal::status_input::StatusInput;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::policy::service_state::Standing;
use crate::core::release::Definition;
use crate::core::rollout::event::Generation;
use crate::core::rollout::task;
use crate::engine::Hosts;
use crate::report;
use crate::store::Store;

const REFRESH: Duration = Duration::from_secs(1);

pub(super) async fn run(args: Args) -> Result<Exit, Fail> {
    let mut view = View::open(args.inventory.clone())?;
    let exit = if args.watch {
        watch(&mut view, args.inventory, args.output).await
    } else {
        let shown = show(&mut view, args.output, "").await;
        shown.map(|()| Exit::Done)
    };
    view.world.close().await;
    exit
}

/// What a status is made of: the files, the history, and the connections to the hosts.
struct View {
    session: Session,
    definitions: BTreeMap<ReleaseId, Definition>,
    world: Arc<Hosts>,
}

impl View {
    fn open(inventory: InventoryArg) -> Result<Self, Fail> {
        let session = Session::recall(inventory, &Overrides::default(), StoreAccess::Read)?;
        let definitions = session.definitions();
        let world = session.world(definitions.clone(), None);
        Ok(Self {
            session,
            definitions,
            world,
        })
    }

    /// Takes in what other processes have recorded since. A new release brings a definition of its
    /// own, and may have come with other files.
    async fn refresh(&mut self, inventory: &InventoryArg) -> Result<(), Fail> {
        self.session.read_history()?;
        if self
            .session
            .definitions()
            .keys()
            .eq(self.definitions.keys())
        {
            return Ok(());
        }
        let old = std::mem::replace(self, Self::open(inventory.clone())?);
        old.world.close().await;
        Ok(())
    }
}

async fn watch(view: &mut View, inventory: InventoryArg, form: Form) -> Result<Exit, Fail> {
    let mut interrupts = signals::listen()?;
    let clear = if std::io::stdout().is_terminal() && form == Form::Text {
        "\x1b[H\x1b[2J"
    } else {
        ""
    };
    loop {
        view.refresh(&inventory).await?;
        tokio::select! {
            shown = show(view, form, clear) => shown?,
            _ = interrupts.recv() => return Ok(Exit::Done),
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = interrupts.recv() => return Ok(Exit::Done),
        }
    }
}

async fn show(view: &mut View, form: Form, clear: &str) -> Result<(), Fail> {
    let (found, adopted) = view.session.look(&mut view.world).await?;
    view.session.take_over(&found, &adopted, Adopt::Show)?;
    view.definitions = view.session.definitions();
    let (session, definitions) = (&view.session, &view.definitions);
    let mut spec = session.spec(definitions, None)?;
    let elsewhere = session.last_elsewhere(&found.owners)?;
    let holder = session.holder()?;
    let newest = session.newest()?;
    let asked = match &newest {
        Some((rollout, _)) if holder.is_some() => session.store.request(*rollout)?,
        _ => None,
    };
    let journal = newest.map(|(_, journal)| journal).unwrap_or_default();
    let account = Account::of(&journal);
    let frozen = session
        .store
        .freeze(&session.subject)?
        .filter(|freeze| freeze.holds(session.now()));
    let frozen = frozen.map(|freeze| format!("frozen by {freeze}"));
    if let Some(account) = &account {
        // What was asked for last, which the command line may have said and not the playbook.
        spec.budget.replicas = account.replicas;
        spec.budget.unavailable = spec.budget.unavailable.min(account.replicas);
    }
    let mut marks = PendingActions::default();
    if holder.is_some() {
        for entry in &journal {
            marks.apply(entry);
        }
    }
    let target = target(session, account.as_ref(), holder.is_some());
    let versions = definitions
        .iter()
        .map(|(id, definition)| (id.clone(), definition.version.clone()))
        .collect();
    let now = session.now();
    let mut holds = drained(session, &found.fleet);
    holds.extend(ownership::holds(session, &found));
    let status = StatusInput {
        service: &session.subject.service,
        fleet_name: &session.subject.fleet,
        hosts: &session.addresses(),
        fleet: &found.fleet,
        versions: &versions,
        target: target.as_ref(),
        budget: spec.budget,
        min_ready: spec.min_ready,
        thresholds: &spec.thresholds,
        traffic: spec.traffic.as_ref(),
        standing: Standing::of(account.as_ref(), holder.is_some()),
        marks: &marks,
        left_behind: account.as_ref().map_or(&[], |account| &account.left_behind),
        holds: &holds,
        now,
    }
    .status();
    let by = holder.map(|holder| format!("{}@{} (pid {})", holder.owner, holder.host, holder.pid));
    match form {
        Form::Json => {
            let mut object = serde_json::to_value(&status).unwrap_or_default();
            object["rollout"] = serde_json::to_value(&account).unwrap_or_default();
            object["locked_by"] = by.into();
            object["frozen"] = frozen.into();
            object["last_deployed_elsewhere"] = elsewhere.map(|owner| owner.to_string()).into();
            print(&format!("{object}\n")).map(drop)
        }
        Form::Text => {
            let debt = status
                .debt
                .iter()
                .map(|held| format!("left behind: {}", held.why));
            let wish = asked.filter(|_| {
                account
                    .as_ref()
                    .is_some_and(|account| account.outcome.is_none())
            });
            let wish = wish.map(|asked| format!("{} asked to {} it", asked.by, asked.wish.verb()));
            let mut lines = account
                .map(|account| account.lines(by.as_deref(), now))
                .unwrap_or_default();
            lines.extend(wish);
            lines.extend(frozen);
            lines.extend(waiting_contracts(session)?);
            lines.extend(debt);
            lines.extend(elsewhere.map(|owner| ownership::deployed_elsewhere(&owner, now)));
            let lines = lines.iter().fold(String::new(), |text, line| {
                text + &report::text::clean_indented(line) + "\n"
            });
            print(&format!("{clear}{}{lines}", report::table::status(&status))).map(drop)
        }
    }
}

/// Why nothing is being done about the hosts that are to be drained, or are.
fn drained(session: &Session, fleet: &Fleet) -> BTreeMap<HostId, WaitReason> {
    let drained = session
        .project
        .inventory
        .hosts
        .iter()
        .filter(|host| host.drain);
    let hold = |host: &HostId| {
        let is_empty = fleet
            .hosts
            .get(host)
            .is_none_or(|seen| seen.instances().next().is_none());
        if is_empty {
            WaitReason::Drained
        } else {
            WaitReason::ToDrain
        }
    };
    drained
        .map(|host| (host.name.clone(), hold(&host.name)))
        .collect()
}

/// Contracts of what runs that a person is to make.
fn waiting_contracts(session: &Session) -> Result<Vec<String>, Fail> {
    let made = session.store.migrations_made(&session.subject)?;
    let proven = session
        .current()
        .filter(|current| session.is_proven(&current.release));
    let left = proven
        .map(|current| task::contracts(&current.definition, &made))
        .unwrap_or_default();
    Ok(left
        .into_iter()
        .map(|chore| format!("{} waits for `ship contract`", chore.name))
        .collect())
}

/// Where a running rollout goes; else the revision that the fleet is on.
fn target(session: &Session, account: Option<&Account>, is_running: bool) -> Option<Generation> {
    let under_way = account.filter(|account| is_running && account.outcome.is_none());
    under_way
        .map(|account| account.target.clone())
        .or_else(|| session.current().map(Session::generation))
}
