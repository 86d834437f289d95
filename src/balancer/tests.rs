//! Tests the drivers and the group with a fake link.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};

use super::driver::{BalancerDriver, DrainMode, DriverContext, SlotChange};
use super::error::{BalancerError, SwitchError};
use super::group::{BalancerGroup, Balancing};
use super::link::{Link, SocketError};
use super::slots::SlotHost;
use super::{DrainEnd, drain};
use crate::config::{AdminSocket, HaproxyConfig, Servers, SshConfig, TrafficDriver, Transport};
use crate::core::fleet::owner::Owner;
use crate::core::fleet::traffic::{
    BalancerState, Balancers, DrainResult, Server, SlotAdmission, Traffic,
};
use crate::core::ids::{ActionId, Epoch, Slot};
use crate::core::release::slots::{SlotPorts, Slots};
use crate::remote::{HostSite, HostUnavailable, ServiceContext, Target};
use crate::script::Script;

const MAINT: u32 = 0x01;
const DRAIN: u32 = 0x08;

/// A machine with a fake `HAProxy` and two servers, one for each slot.
struct FakeMachine {
    state: Mutex<FakeHaproxy>,
}

struct FakeHaproxy {
    /// `srv_admin_state` of each server.
    servers: BTreeMap<String, u32>,
    commands: Vec<String>,
    /// The newest epoch that the machine has seen.
    epoch: u64,
    is_reachable: bool,
}

impl FakeMachine {
    fn new() -> Arc<Self> {
        let servers = ["web1-8081", "web1-8082"].map(|name| (name.to_owned(), 0));
        Arc::new(Self {
            state: Mutex::new(FakeHaproxy {
                servers: servers.into(),
                commands: Vec::new(),
                epoch: 0,
                is_reachable: true,
            }),
        })
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut FakeHaproxy) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn commands(&self) -> Vec<String> {
        self.with_state(|state| state.commands.clone())
    }
}

impl FakeHaproxy {
    fn answer(&mut self, command: &str) -> String {
        match command {
            "show info" => "Pid: 1\n".to_owned(),
            "show servers state web" => {
                let mut text = "1\n# srv_name srv_admin_state srv_op_state srv_check_result \
                                srv_check_state srv_uweight srv_iweight\n"
                    .to_owned();
                for (name, state) in &self.servers {
                    let _ = writeln!(text, "{name} {state} 2 3 6 1 1");
                }
                text
            }
            "show stat web 4 -1" => {
                let mut text = "# svname,qcur,scur,stot\n".to_owned();
                for name in self.servers.keys() {
                    let _ = writeln!(text, "{name},0,0,7");
                }
                text
            }
            order => {
                self.commands.push(order.to_owned());
                let words: Vec<_> = order.split(['/', ' ']).collect();
                if let ["set", "server", "web", name, "state", state] = words[..] {
                    let state = match state {
                        "maint" => MAINT,
                        "drain" => DRAIN,
                        _ => 0,
                    };
                    self.servers.insert(name.to_owned(), state);
                }
                "\n".to_owned()
            }
        }
    }
}

impl Link for FakeMachine {
    fn run<'a>(&'a self, script: &'a Script) -> BoxFuture<'a, Result<String, HostUnavailable>> {
        let result = self.with_state(|state| {
            if !state.is_reachable {
                return Err(HostUnavailable {
                    why: "lb1: no route to the host".to_owned(),
                });
            }
            let epoch = state.epoch;
            let end = if script.text.contains("EPOCH='5'") && epoch > 5 {
                format!("fenced {epoch}")
            } else {
                "done".to_owned()
            };
            Ok(format!("ship=1\nnow=1.00\nepoch={epoch}\nend={end}\n"))
        });
        ready(result).boxed()
    }

    fn send_command<'a>(
        &'a self,
        _socket: &'a AdminSocket,
        command: &'a str,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<String, SocketError>> {
        ready(Ok(self.with_state(|state| state.answer(command)))).boxed()
    }

    fn network_address(&self) -> BoxFuture<'_, String> {
        ready("127.0.0.1".to_owned()).boxed()
    }
}

/// A driver that only records the changes.
#[derive(Default)]
struct MemoryDriver {
    open: Mutex<BTreeMap<Slot, bool>>,
}

impl MemoryDriver {
    fn set(&self, slot: &Slot, is_open: bool) -> BalancerState {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(slot.clone(), is_open);
        let server = |is_open: bool| Server {
            admission: if is_open {
                SlotAdmission::Open
            } else {
                SlotAdmission::Closed
            },
            ..Server::default()
        };
        BalancerState {
            servers: open
                .iter()
                .map(|(slot, is_open)| (slot.clone(), server(*is_open)))
                .collect(),
            ..BalancerState::default()
        }
    }
}

impl BalancerDriver for MemoryDriver {
    fn observe<'a>(
        &'a self,
        _: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>> {
        ready(Ok(self.set(&slot(8082), true))).boxed()
    }

    fn admit<'a>(
        &'a self,
        _: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        _: Option<u32>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        ready(Ok(self.set(change.slot, true))).boxed()
    }

    fn drain<'a>(
        &'a self,
        _: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        _: DrainMode,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        ready(Ok(self.set(change.slot, false))).boxed()
    }

    fn cut<'a>(
        &'a self,
        _: DriverContext<'a>,
        change: &'a SlotChange<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        ready(Ok(self.set(change.slot, false))).boxed()
    }
}

fn slot(port: u16) -> Slot {
    Slot::new("web1", port)
}

fn site(name: &str, ports: &[u16]) -> HostSite {
    HostSite {
        target: Target {
            name: name.into(),
            address: "127.0.0.1".to_owned(),
            transport: Transport::Local,
            ssh: SshConfig::default(),
            sudo_password: None,
            kept: None,
        },
        labels: BTreeMap::new(),
        base_dir: "/nowhere".to_owned(),
        slots: ports.iter().map(|port| (*port, vec![*port])).collect(),
    }
}

fn balancing() -> Balancing {
    Balancing {
        traffic: Traffic {
            balancers: Balancers::Shared(vec!["lb1".into()]),
            drain_timeout: Duration::from_secs(5),
        },
        driver: TrafficDriver::Haproxy(HaproxyConfig {
            socket: AdminSocket::Path("/run/haproxy.sock".to_owned()),
            backend: "web".to_owned(),
            server: "{{ host }}-{{ port }}".to_owned(),
            servers: Servers::Static,
            server_options: String::new(),
        }),
        slots: Slots::Ports(vec![SlotPorts::Single(8081), SlotPorts::Single(8082)]),
        port: None,
    }
}

/// A host with two slots behind a balancer on the machine.
fn hosts(machine: &Arc<FakeMachine>) -> Vec<SlotHost> {
    let host = |site| SlotHost {
        site,
        link: Arc::clone(machine) as Arc<dyn Link>,
    };
    vec![host(site("web1", &[8081, 8082])), host(site("lb1", &[]))]
}

fn service() -> ServiceContext {
    ServiceContext {
        owner: Owner {
            fleet: "test".to_owned(),
            service: "web".to_owned(),
            ..Owner::default()
        },
        proven: BTreeMap::new(),
    }
}

fn group(machine: &Arc<FakeMachine>) -> BalancerGroup {
    BalancerGroup::new(&balancing(), hosts(machine), service(), BTreeMap::new())
}

fn change(slot: &Slot) -> SlotChange<'_> {
    SlotChange::new(slot, Epoch(5), ActionId(1), Duration::ZERO)
}

async fn drain_first(group: &BalancerGroup, keep: u32) -> Result<DrainEnd, BalancerError> {
    drain(group, &change(&slot(8081)), keep).await
}

#[tokio::test]
async fn drain_closes_the_slot_to_new_clients_and_then_to_bound_clients() {
    let machine = FakeMachine::new();
    let end = drain_first(&group(&machine), 1).await.expect("an end");
    let cut = end.drain_result.map(|DrainResult { cut, .. }| cut);
    assert_eq!(cut, Some(0));
    assert!(end.views[&"lb1".into()].is_closed(&slot(8081)));
    assert_eq!(
        machine.commands(),
        [
            "set server web/web1-8081 state drain",
            "set server web/web1-8081 state maint",
        ]
    );
}

#[tokio::test]
async fn drain_does_not_start_if_too_few_other_servers_are_up() {
    let machine = FakeMachine::new();
    let end = drain_first(&group(&machine), 2).await.expect("an end");
    assert_eq!(end.drain_result, None);
    assert!(end.views[&"lb1".into()].is_open(&slot(8081)));
    assert_eq!(machine.commands(), [""; 0]);
}

#[tokio::test]
async fn machine_with_a_newer_epoch_fences_every_change() {
    let machine = FakeMachine::new();
    machine.with_state(|state| state.epoch = 9);
    let group = group(&machine);
    let fenced = BalancerError::Fenced { seen: Epoch(9) };
    let (first, second) = (slot(8081), slot(8082));
    assert_eq!(
        group.admit(&change(&first), None).await,
        Err(fenced.clone())
    );
    assert_eq!(group.close(&change(&second)).await, Err(fenced));
    assert_eq!(machine.commands(), [""; 0]);
    let seen = group.observe(&"lb1".into()).await.expect("a view");
    assert_eq!(seen.epoch, Some(Epoch(9)));
}

#[tokio::test]
async fn unreachable_balancer_is_reported_by_name() {
    let machine = FakeMachine::new();
    machine.with_state(|state| state.is_reachable = false);
    let lost = BalancerError::Lost {
        balancer: "lb1".into(),
        why: "lb1: no route to the host".to_owned(),
    };
    let observed = group(&machine).observe_slot(&slot(8081)).await;
    assert_eq!(observed, Err(lost));
}

#[tokio::test]
async fn group_drains_through_any_driver() {
    let machine = FakeMachine::new();
    let driver = Box::<MemoryDriver>::default();
    let group = BalancerGroup::with_driver(
        &balancing(),
        driver,
        hosts(&machine),
        service(),
        BTreeMap::new(),
    );
    let first = slot(8081);
    let views = group.admit(&change(&first), None).await.expect("views");
    assert!(views[&"lb1".into()].is_open(&first));
    let end = drain_first(&group, 1).await.expect("an end");
    assert!(end.drain_result.is_some() && end.views[&"lb1".into()].is_closed(&first));
}
