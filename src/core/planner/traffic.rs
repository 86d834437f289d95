//! What the balancers are told: which instances get requests.

use super::Draft;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{Balancers, Stream, Traffic};
use crate::core::ids::{HostId, Slot};
use crate::core::planner::census::{Counted, HostCount};
use crate::core::planner::wait_reason::Hold;
use crate::core::rollout::action::Action;
use crate::core::spec::step::FULL_WEIGHT_PERCENT;
use crate::core::time::Time;

impl Draft<'_> {
    /// Lets requests come to what is ready and wanted.
    pub(super) fn admit(&mut self) {
        let weight_percent = self
            .step()
            .and_then(|step| step.weight_of_each(self.census.desired));
        let mut surplus = self.census.surplus();
        for (host, counted) in self.census.instances() {
            if let Some(left) = surplus
                .get_mut(&counted.instance.release)
                .filter(|left| **left > 0)
                && self.is_put_aside(counted)
            {
                *left -= 1;
                continue;
            }
            let is_shut = matches!(counted.stream, Stream::Closed | Stream::Partly);
            let is_due = is_shut || self.has_other_weight(host, counted, weight_percent);
            let may_serve = counted.is_new && counted.is_ready && !counted.is_stopping && is_due;
            if may_serve
                && host.is_idle()
                && !self.is_outshone(host)
                && !self.has_failed_to_admit(counted)
            {
                let slot = Slot {
                    host: host.id.clone(),
                    port: counted.port,
                };
                let instance = counted.instance.name.clone();
                self.order(Action::Admit {
                    slot,
                    instance,
                    weight_percent,
                });
            }
        }
    }

    /// Whether it was taken out of traffic, and not only never let in.
    pub(super) fn is_put_aside(&self, counted: &Counted<'_>) -> bool {
        let name = &counted.instance.name;
        let was_let_in = !self.rollout.attempt.started.contains_key(name)
            || self.rollout.traffic.weights.contains_key(name);
        counted.is_drained && was_let_in
    }

    /// Whether a balancer that knows weights gives the instance another share than it is to have.
    fn has_other_weight(
        &self,
        host: &HostCount<'_>,
        counted: &Counted<'_>,
        weight_percent: Option<u32>,
    ) -> bool {
        let Some(traffic) = &self.spec.traffic else {
            return false;
        };
        let slot = Slot {
            host: host.id.clone(),
            port: counted.port,
        };
        let wanted = weight_percent.unwrap_or(FULL_WEIGHT_PERCENT);
        let told = self.rollout.traffic.weights.get(&counted.instance.name);
        let has_other = |balancer: &HostId| {
            let server = self
                .fleet
                .balancers
                .get(balancer)
                .and_then(|seen| seen.view.servers.get(&slot));
            server
                .and_then(|server| server.weight_percent)
                .is_some_and(|has| match told {
                    // A balancer that counts in coarse weights comes as near as it can, which is
                    // half of it at worst.
                    Some(told) if *told == wanted => has.abs_diff(wanted) > wanted / 2,
                    _ => has != wanted,
                })
        };
        traffic.balancers_of(&slot).iter().any(has_other)
    }

    /// What was started just now and has not been ready yet gets nothing, whoever else has told a
    /// balancer to send requests there: a reload forgets what it was told.
    pub(super) fn close_early(&mut self) {
        for (host, counted) in self.census.instances() {
            let name = &counted.instance.name;
            let is_raw = self.rollout.attempt.started.contains_key(name)
                && !self.rollout.attempt.served.contains(name);
            let is_exposed = matches!(
                counted.stream,
                Stream::Open | Stream::Objected | Stream::Partly
            );
            if is_raw && is_exposed && !counted.is_ready && !counted.is_stopping && host.is_idle() {
                let slot = Slot {
                    host: host.id.clone(),
                    port: counted.port,
                };
                self.order(Action::Drain {
                    slot,
                    instance: name.clone(),
                    keep: 0,
                });
            }
        }
    }

    /// What is left behind out of reach gets nothing when it comes back, before it is put right:
    /// the balancers are told now. Only where enough others serve, as it may serve all the while.
    pub(super) fn close_left_behind(&mut self) {
        let is_shared = matches!(
            &self.spec.traffic,
            Some(Traffic {
                balancers: Balancers::Shared(_),
                ..
            })
        );
        if !is_shared || self.census.available < self.budget.min_available() {
            return;
        }
        let keep = self.budget.min_available();
        for (host, counted) in self.census.instances() {
            let is_away = !host.takes_part() && !host.is_reachable() && host.busy.is_none();
            let gets = matches!(
                counted.stream,
                Stream::Open | Stream::Objected | Stream::Partly
            );
            if is_away && gets && !counted.is_stopping && !self.has_failed_to_stop(counted) {
                let slot = Slot {
                    host: host.id.clone(),
                    port: counted.port,
                };
                self.order(Action::Drain {
                    slot,
                    instance: counted.instance.name.clone(),
                    keep,
                });
            }
        }
    }

    /// Whether the host's public port is with another instance that is wanted: where each host is
    /// its own balancer, it has but one.
    fn is_outshone(&self, host: &HostCount<'_>) -> bool {
        let has_one_port = self
            .spec
            .traffic
            .as_ref()
            .is_some_and(|traffic| traffic.balancers == Balancers::OnHosts);
        has_one_port
            && host
                .instances
                .iter()
                .any(|other| other.is_new && other.is_ready && other.stream == Stream::Open)
    }

    fn has_failed_to_admit(&self, counted: &Counted<'_>) -> bool {
        let is_its = |action: &Action| matches!(action, Action::Admit { instance, .. } if *instance == counted.instance.name);
        self.rollout
            .attempt
            .failed
            .iter()
            .any(|failed| is_its(&failed.action))
    }

    /// Since when a balancer before the whole fleet cannot be reached, if so.
    pub(super) fn balancer_lost_since(&self) -> Option<Time> {
        let machines = self.spec.traffic.as_ref()?.machines().iter();
        let since =
            machines.filter_map(|balancer| match self.fleet.balancers.get(balancer)?.reach {
                Reach::Lost { since, .. } => Some(since),
                Reach::Reachable | Reach::NotSeen => None,
            });
        since.min()
    }

    /// A balancer before the whole fleet that cannot be reached, and why: nothing is known of what
    /// it does.
    pub(super) fn lost_balancer(&self) -> Option<(&HostId, Hold)> {
        self.spec
            .traffic
            .as_ref()?
            .machines()
            .iter()
            .find_map(|balancer| {
                let why = match self.fleet.balancers.get(balancer).map(|seen| &seen.reach) {
                    Some(Reach::Reachable) => return None,
                    Some(Reach::Lost { why, .. }) => why.clone(),
                    Some(Reach::NotSeen) | None => "not looked at yet".to_owned(),
                };
                Some((
                    balancer,
                    Hold::BalancerLost {
                        balancer: balancer.clone(),
                        why,
                    },
                ))
            })
    }
}
