//! Traffic is switched around what happens on a host: nothing is started in a slot that gets
//! requests, and nothing is stopped that may still have some.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::balancers::{Switch, Switched, Turn};
use super::hosts::Hosts;
use super::world::{Order, Performed};
use crate::core::fleet::drain::{Drain, DrainStep};
use crate::core::fleet::traffic::{Traffic, View};
use crate::core::ids::{HostId, Slot};
use crate::core::rollout::action::Action;

/// How long a balancer's own check may take at least to pass an instance that is ready.
const PATIENCE_MIN: Duration = Duration::from_secs(15);

type Views = BTreeMap<HostId, View>;

/// Carries out an order: the balancers are told what belongs to it.
pub(super) async fn perform(hosts: &Hosts, traffic: &Traffic, order: Order) -> Performed {
    let views = match &order.action {
        Action::Admit {
            slot,
            weight_percent,
            ..
        } => {
            let turn = Turn::Open {
                weight_percent: *weight_percent,
            };
            return ended(turn_all(hosts, traffic, &order, slot, turn).await);
        }
        Action::Drain { slot, keep, .. } => {
            return drain(hosts, traffic, &order, slot, *keep).await;
        }
        Action::Start { slot, .. } => close_first(hosts, traffic, &order, slot).await,
        Action::Stop { slot, .. } => check_closed(hosts, traffic, slot).await,
        Action::Claim { .. }
        | Action::Stage { .. }
        | Action::Disarm { .. }
        | Action::Prune { .. } => Ok(Views::new()),
    };
    match views {
        Err(performed) => performed,
        Ok(views) => match hosts.carry_out(order).await {
            Performed::Done(observation) if !views.is_empty() => Performed::Switched {
                views,
                receipt: None,
                observation: Some(observation),
            },
            performed => performed,
        },
    }
}

fn ended(views: Result<Views, Performed>) -> Performed {
    match views {
        Ok(views) => Performed::Switched {
            views,
            receipt: None,
            observation: None,
        },
        Err(performed) => performed,
    }
}

/// What the balancers of a slot say now.
async fn look(hosts: &Hosts, traffic: &Traffic, slot: &Slot) -> Result<Views, Performed> {
    let looks = traffic
        .balancers_of(slot)
        .iter()
        .map(|balancer| async move { (balancer.clone(), hosts.look_at_balancer(balancer).await) });
    let mut views = Views::new();
    for (balancer, looked) in join_all(looks).await {
        match looked {
            Ok(view) => drop(views.insert(balancer, view)),
            Err(unusable) => {
                return Err(Performed::BalancerLost {
                    balancer,
                    why: unusable.why,
                });
            }
        }
    }
    Ok(views)
}

/// Tells every balancer of a slot; what they say after.
async fn turn_all(
    hosts: &Hosts,
    traffic: &Traffic,
    order: &Order,
    slot: &Slot,
    turn: Turn,
) -> Result<Views, Performed> {
    let switch = Switch {
        slot,
        turn,
        epoch: order.epoch,
        order: order.id,
        patience: order.progress_deadline.max(PATIENCE_MIN),
    };
    let turns = traffic.balancers_of(slot).iter().map(|balancer| {
        let switch = &switch;
        async move { (balancer.clone(), hosts.switch(balancer, switch).await) }
    });
    let mut views = BTreeMap::new();
    let mut trouble = None;
    for (balancer, switched) in join_all(turns).await {
        match switched {
            Switched::Done(view) => {
                views.insert(balancer, view);
            }
            // Who is fenced off has nothing more to say.
            Switched::Fenced(seen) => trouble = Some(Performed::Fenced { seen }),
            Switched::Failed(error) => {
                trouble.get_or_insert(Performed::Failed {
                    error: format!("{balancer}: {error}"),
                    observation: None,
                });
            }
            Switched::Unknown(why) => {
                trouble.get_or_insert(Performed::BalancerLost { balancer, why });
            }
        }
    }
    match trouble {
        None => Ok(views),
        Some(performed) => Err(performed),
    }
}

/// Nothing that has not been proven gets requests.
async fn close_first(
    hosts: &Hosts,
    traffic: &Traffic,
    order: &Order,
    slot: &Slot,
) -> Result<Views, Performed> {
    let views = look(hosts, traffic, slot).await?;
    if views.values().all(|view| view.is_closed(slot)) {
        return Ok(views);
    }
    turn_all(hosts, traffic, order, slot, Turn::Close).await
}

/// What was drained stays closed until it is stopped, or it is drained anew: a balancer may have
/// been reloaded since.
async fn check_closed(hosts: &Hosts, traffic: &Traffic, slot: &Slot) -> Result<Views, Performed> {
    let views = look(hosts, traffic, slot).await?;
    if !views.values().all(|view| view.is_closed(slot)) {
        return Err(Performed::Switched {
            views,
            receipt: None,
            observation: None,
        });
    }
    Ok(views)
}

async fn drain(
    hosts: &Hosts,
    traffic: &Traffic,
    order: &Order,
    slot: &Slot,
    keep: u32,
) -> Performed {
    let seen = match look(hosts, traffic, slot).await {
        Ok(views) => views,
        Err(performed) => return performed,
    };
    if !seen.values().all(|view| view.spares(slot, keep)) {
        // Fewer serve than was thought: plan again on what the balancers say.
        return Performed::Switched {
            views: seen,
            receipt: None,
            observation: None,
        };
    }
    let mut views = match turn_all(hosts, traffic, order, slot, Turn::Ease).await {
        Ok(views) => views,
        Err(performed) => return performed,
    };
    let begun = Instant::now();
    let mut drain = Drain::begin(&seen, slot, traffic.drain_timeout);
    loop {
        for took_over in traffic
            .balancers_of(slot)
            .iter()
            .filter_map(|balancer| hosts.took_over(balancer))
        {
            drain.distrust(took_over, begun.elapsed());
        }
        let turn = match drain.step(&views, slot, begun.elapsed()) {
            DrainStep::Done(receipt) => {
                return Performed::Switched {
                    views,
                    receipt: Some(receipt),
                    observation: None,
                };
            }
            DrainStep::Ease => Some(Turn::Ease),
            DrainStep::Close => Some(Turn::Close),
            DrainStep::Cut => Some(Turn::Cut),
            DrainStep::Wait(pause) => {
                tokio::time::sleep(pause).await;
                None
            }
        };
        if let Some(turn) = turn
            && let Err(performed) = turn_all(hosts, traffic, order, slot, turn).await
        {
            return performed;
        }
        views = match look(hosts, traffic, slot).await {
            Ok(views) => views,
            Err(performed) => return performed,
        };
    }
}
