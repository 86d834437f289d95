//! `ship unlock`: takes the lock away from a ship that holds it, and makes the hosts refuse its
//! orders.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::args::Unlock;
use super::exit::{Exit, Fail};
use super::print;
use super::session::{Session, StoreAccess};
use crate::config::Overrides;
use crate::core::ids::{ActionId, Epoch, HostId};
use crate::core::rollout::action::Action;
use crate::engine::{ActionOrder, ActionResult, Executor, FleetExecutor, preflight};
use crate::store::Holder;

pub(super) async fn run(args: Unlock) -> Result<Exit, Fail> {
    let mut session = Session::recall(args.inventory, &Overrides::default(), StoreAccess::Write)?;
    let Some(holder) = session
        .store
        .lease(&session.subject, session.clock.wall())?
    else {
        return print(&format!(
            "deployment \"{}\" on {} is not locked\n",
            session.subject.service, session.subject.fleet
        ));
    };
    confirm(&holder, args.yes)?;
    let world = session.world(session.definitions(), None);
    let found = preflight(
        &world,
        &session.hosts(),
        session.traffic().as_ref(),
        &session.definitions(),
        &*session.clock,
    )
    .await;
    let seen = found.newest_epoch();
    let epoch = session.store.break_lease(&session.subject, seen)?;
    let untold = claim_all(
        &world,
        [session.hosts(), session.balancers()].concat(),
        epoch,
    )
    .await;
    let mut text = format!(
        "unlocked: the lock of {} is gone, and hosts refuse its orders from now on\n",
        name(&holder)
    );
    for (host, why) in untold {
        let _ = writeln!(
            text,
            "  {host} could not be told yet: {}; the next rollout tells it first",
            host.unnamed(&why)
        );
    }
    text.push_str("`ship status` shows where it stands\n");
    print(&text)
}

fn name(holder: &Holder) -> String {
    format!(
        "{}@{} (pid {}, {})",
        holder.owner, holder.host, holder.pid, holder.run
    )
}

fn confirm(holder: &Holder, yes: bool) -> Result<(), Fail> {
    if yes {
        return Ok(());
    }
    let who = format!("{holder}");
    let who = who.split(';').next().unwrap_or(&who);
    if !std::io::stdin().is_terminal() {
        return Err(Fail::refused(format!(
            "error: {who}; nobody can be asked here whether to take the lock away: say --yes"
        )));
    }
    let mut stderr = std::io::stderr();
    let question =
        format!("{who}\nIts orders will be refused from now on. Take the lock away? [y/N] ");
    let mut answer = String::new();
    let asked = stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush());
    let read = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Fail::refused("error: the lock is left where it is")),
    }
}

/// Makes every host and every balancer's machine see the new epoch; those that could not be
/// reached, and why.
async fn claim_all(
    world: &Arc<FleetExecutor>,
    hosts: Vec<HostId>,
    epoch: Epoch,
) -> Vec<(HostId, String)> {
    let claims = hosts.into_iter().map(|host| {
        let world = Arc::clone(world);
        async move {
            let action = Action::Claim { host: host.clone() };
            match world
                .execute(ActionOrder {
                    id: ActionId(0),
                    action,
                    epoch,
                    instance: None,
                    progress_deadline: Duration::ZERO,
                })
                .await
            {
                ActionResult::Done(_) | ActionResult::Switched { .. } => None,
                ActionResult::Fenced { seen } => {
                    Some((host, format!("it has seen the newer epoch {seen}")))
                }
                ActionResult::Failed { error: why, .. }
                | ActionResult::BalancerLost { why, .. }
                | ActionResult::Busy { why }
                | ActionResult::Unknown { why } => Some((host, why)),
            }
        }
    });
    join_all(claims).await.into_iter().flatten().collect()
}
