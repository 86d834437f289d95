//! A backend of `HAProxy` as last observed, and the next step to admit requests to a server.

use std::collections::BTreeMap;

use super::protocol::drain;
use crate::core::fleet::traffic::{BalancerState, Counters, Server, SlotAdmission};
use crate::core::ids::Slot;

/// Bits of `srv_admin_state` that mean maintenance: forced, inherited from a tracked server, and
/// without an address. 0x04 and 0x40 are not maintenance: they mean `disabled` in the configuration
/// file, and a name that was set at runtime.
const MAINT: u32 = FORCED_MAINT | 0x02 | 0x20;
/// The bit that `set server … state maint` sets.
const FORCED_MAINT: u32 = 0x01;
/// Bits that mean `drain`: forced, and inherited.
const DRAIN: u32 = 0x08 | 0x10;
/// A bit of `srv_check_state`: checks are enabled.
const CHECKS: u32 = 0x04;
/// `srv_op_state`: down.
const DOWN: u32 = 0;
/// `srv_op_state`: up, or up and warming up.
const UP: [u32; 2] = [1, 2];
/// `srv_check_result`: passed, or passed with a condition.
const PASSED: [u32; 2] = [3, 4];

/// A backend, as last observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backend {
    /// Identifies the `HAProxy` process that responded.
    pub(super) generation: String,
    pub(super) servers: BTreeMap<String, ServerState>,
}

/// A server, as last observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerState {
    pub(super) admin_state: u32,
    pub(super) op_state: u32,
    pub(super) check_result: u32,
    pub(super) check_state: u32,
    pub(super) weight: u32,
    pub(super) initial_weight: u32,
    pub(super) in_flight: u32,
    pub(super) requests_total: Option<u64>,
    pub(super) counters: Option<Counters>,
}

/// The next step to admit requests to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AdmitStep {
    /// Run these commands, one after another.
    Run(Vec<String>),
    /// The server's own check has not passed yet: observe again.
    Wait,
    /// The server cannot be admitted, for this reason.
    Impossible(String),
    /// The server gets requests.
    Done,
}

impl Backend {
    /// The state of the slots whose servers have these names.
    pub(super) fn view(&self, names: &BTreeMap<Slot, String>) -> BalancerState {
        let servers = names
            .iter()
            .filter_map(|(slot, name)| Some((slot.clone(), self.servers.get(name)?.to_server())));
        BalancerState {
            epoch: None,
            generation: self.generation.clone(),
            servers: servers.collect(),
        }
    }

    /// The next step to admit requests to a server, with the full weight (`None`) or a percentage
    /// of it.
    pub(super) fn next_admit_step(
        &self,
        backend: &str,
        name: &str,
        weight_percent: Option<u32>,
    ) -> AdmitStep {
        let Some(known) = self.servers.get(name) else {
            return AdmitStep::Impossible(format!("backend {backend} has no server `{name}`"));
        };
        if known.admin_state & FORCED_MAINT != 0 {
            let mut commands = drain(backend, name);
            if known.is_checked() {
                // After maintenance, the server counts as up until a check fails, and the last
                // check that passed was for an earlier instance.
                commands.push(format!("set server {backend}/{name} health down"));
            }
            return AdmitStep::Run(commands);
        }
        if known.admin_state & MAINT != 0
            || !known.is_open() && known.to_server().is_up == Some(false)
        {
            return AdmitStep::Wait;
        }
        let percent = weight_percent.unwrap_or(100);
        let weight = known.initial_weight.saturating_mul(percent) / 100;
        if weight == 0 {
            return AdmitStep::Impossible(format!(
                "{percent} % of the weight of server `{name}`, which is {}, is zero; add \
                 `weight 100` to its line",
                known.initial_weight
            ));
        }
        let mut commands = Vec::new();
        if known.weight != weight {
            commands.push(format!("set weight {backend}/{name} {percent}%"));
        }
        if known.admin_state & DRAIN != 0 {
            commands.push(format!("set server {backend}/{name} state ready"));
        }
        if commands.is_empty() {
            AdmitStep::Done
        } else {
            AdmitStep::Run(commands)
        }
    }
}

impl ServerState {
    fn admission(&self) -> SlotAdmission {
        match self.admin_state {
            state if state & MAINT != 0 => SlotAdmission::Closed,
            // A weight of zero has the same effect as `drain`.
            state if state & DRAIN != 0 || self.weight == 0 => SlotAdmission::Bound,
            _ => SlotAdmission::Open,
        }
    }

    fn is_open(&self) -> bool {
        self.admission() == SlotAdmission::Open
    }

    fn is_checked(&self) -> bool {
        self.check_state & CHECKS != 0
    }

    /// The properties of the server that matter to a rollout.
    pub(super) fn to_server(self) -> Server {
        let is_up = match self.op_state {
            DOWN => Some(false),
            _ if !self.is_checked() => None,
            // An open server gets requests until enough checks have failed; a closed one must have
            // passed a check.
            state => {
                Some(UP.contains(&state) && (self.is_open() || PASSED.contains(&self.check_result)))
            }
        };
        let percent = self
            .weight
            .saturating_mul(100)
            .checked_div(self.initial_weight);
        Server {
            admission: self.admission(),
            is_up,
            in_flight: self.in_flight,
            requests_total: self.requests_total,
            weight_percent: percent,
            counters: self.counters,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::balancer::haproxy::protocol::error;
    use crate::balancer::haproxy::responses::{parse, parse_counts};

    const INFO: &str = "Name: HAProxy\nVersion: 2.6.12\nPid: 4711\nUptime: 0d 0h00m01s\n\n";
    const COLUMNS: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state \
                           srv_uweight srv_iweight \
                           srv_time_since_last_change srv_check_status srv_check_result \
                           srv_check_health \
                           srv_check_state srv_agent_state";

    /// Servers, each with its name and `op_state admin_state uweight iweight check_result
    /// check_state`.
    fn backend(servers: &[(&str, [u32; 6])]) -> Backend {
        let mut text = format!("1\n{COLUMNS}\n");
        let mut counts =
            "# pxname,svname,qcur,scur,econ,eresp,last_chk,hrsp_2xx,hrsp_5xx,rtime,stot,\n"
                .to_owned();
        for (name, [op, admin, weight, initial, result, state]) in servers {
            writeln!(
                text,
                "3 web 1 {name} 10.0.0.1 {op} {admin} {weight} {initial} 9 8 {result} 0 {state} 0"
            )
            .unwrap();
            writeln!(
                counts,
                "web,{name},2,3,1,2,\"Layer7 wrong status, code: 500\",90,10,7,100,"
            )
            .unwrap();
        }
        parse("web", INFO, &(text + "\n"), &(counts + "\n")).unwrap()
    }

    fn server(state: [u32; 6]) -> Server {
        backend(&[("a", state)]).servers["a"].to_server()
    }

    const READY: [u32; 6] = [2, 0, 1, 1, 3, 6];
    const DRAINED: [u32; 6] = [2, 8, 1, 1, 3, 6];

    #[test]
    fn backend_state_contains_only_the_servers_of_the_slots() {
        let names = [("a", 1), ("b", 2), ("c", 3)].map(|(name, port)| {
            (
                Slot {
                    host: "web1".into(),
                    number: port,
                },
                name.to_owned(),
            )
        });
        let view =
            backend(&[("a", READY), ("b", DRAINED), ("z", READY)]).view(&BTreeMap::from(names));
        assert_eq!(view.generation, "4711");
        let of = |port| {
            view.servers
                .get(&Slot {
                    host: "web1".into(),
                    number: port,
                })
                .copied()
        };
        let counters = Some(Counters {
            requests: 103,
            errors: 13,
            mean_ms: Some(7),
        });
        let (weight_percent, requests_total) = (Some(100), None);
        let open = Server {
            admission: SlotAdmission::Open,
            is_up: Some(true),
            in_flight: 5,
            requests_total,
            weight_percent,
            counters,
        };
        assert_eq!(of(1), Some(open));
        assert_eq!(
            of(2),
            Some(Server {
                admission: SlotAdmission::Bound,
                ..open
            })
        );
        assert_eq!(of(3), None, "server 3 is not in the backend");
        assert_eq!(view.servers.len(), 2, "other servers are ignored");
    }

    #[test]
    fn server_is_up_if_it_gets_requests_or_has_passed_a_check() {
        assert_eq!(server([0, 0, 1, 1, 2, 6]).is_up, Some(false), "down");
        assert_eq!(
            server([2, 0, 1, 1, 2, 6]).is_up,
            Some(true),
            "one check failed, but it still gets requests"
        );
        assert_eq!(
            server([2, 8, 1, 1, 2, 6]).is_up,
            Some(false),
            "the last check failed"
        );
        assert_eq!(
            server([2, 8, 1, 1, 0, 6]).is_up,
            Some(false),
            "there was no check yet"
        );
        assert_eq!(server([2, 0, 1, 1, 0, 0]).is_up, None, "it has no check");
        assert_eq!(
            server([2, 0, 0, 1, 3, 6]).admission,
            SlotAdmission::Bound,
            "no weight, no new clients"
        );
        assert_eq!(server([2, 0, 10, 100, 3, 6]).weight_percent, Some(10));
    }

    #[test]
    fn server_state_ignores_the_bits_of_the_configuration() {
        assert_eq!(
            server([2, 0x04, 1, 1, 3, 6]).admission,
            SlotAdmission::Open,
            "`disabled` in its line, and enabled since"
        );
        assert_eq!(
            server([2, 0x40, 1, 1, 3, 6]).admission,
            SlotAdmission::Open,
            "its name was set at runtime"
        );
        for maint in [0x01, 0x02, 0x05, 0x20] {
            assert_eq!(
                server([0, maint, 1, 1, 3, 6]).admission,
                SlotAdmission::Closed,
                "{maint:#x}"
            );
        }
        for drain in [0x08, 0x10, 0x0c] {
            assert_eq!(
                server([2, drain, 1, 1, 3, 6]).admission,
                SlotAdmission::Bound,
                "{drain:#x}"
            );
        }
    }

    #[test]
    fn server_reports_its_total_only_without_a_queue() {
        let counts = "# pxname,svname,qcur,scur,stot,\nweb,a,0,1,41,\nweb,b,1,1,41,\n";
        let counted = parse_counts(counts).expect("a table");
        assert_eq!(
            (counted["a"].requests_total, counted["b"].requests_total),
            (Some(41), None)
        );
    }

    #[test]
    fn server_is_opened_when_its_check_has_passed() {
        let step = |state, weight| backend(&[("a", state)]).next_admit_step("web", "a", weight);
        let run = |commands: &[&str]| {
            AdmitStep::Run(commands.iter().map(|order| (*order).to_owned()).collect())
        };
        let drain = "set server web/a state drain";
        assert_eq!(
            step([0, 1, 1, 1, 0, 6], None),
            run(&[drain, "set server web/a health down"])
        );
        assert_eq!(
            step([2, 5, 1, 1, 0, 0], None),
            run(&[drain]),
            "a server without a check would stay down"
        );
        assert_eq!(
            step([0, 0x20, 1, 1, 0, 6], None),
            AdmitStep::Wait,
            "it has no address yet"
        );
        assert_eq!(
            step([2, 0x0c, 1, 1, 3, 6], None),
            run(&["set server web/a state ready"])
        );
        assert_eq!(step([2, 4, 1, 1, 3, 6], None), AdmitStep::Done);
        assert_eq!(step([0, 8, 1, 1, 2, 6], None), AdmitStep::Wait);
        assert_eq!(step(DRAINED, None), run(&["set server web/a state ready"]));
        let weighed = run(&["set weight web/a 5%", "set server web/a state ready"]);
        assert_eq!(step([2, 8, 100, 100, 3, 6], Some(5)), weighed);
        assert_eq!(
            step([2, 0, 5, 100, 3, 6], None),
            run(&["set weight web/a 100%"])
        );
        assert_eq!(step(READY, None), AdmitStep::Done);
        assert!(
            matches!(step(READY, Some(5)), AdmitStep::Impossible(why) if why.contains("weight 100"))
        );
        assert!(matches!(
            backend(&[]).next_admit_step("web", "a", None),
            AdmitStep::Impossible(_)
        ));
    }

    #[test]
    fn missing_backends_and_malformed_responses_are_reported() {
        let absent = parse("web", INFO, "Can't find backend.\n", "No such proxy.\n").unwrap_err();
        assert!(
            absent.to_string().starts_with("has no backend `web`"),
            "{absent}"
        );
        let malformed = parse("web", "", "", "").unwrap_err();
        assert_eq!(
            malformed.to_string(),
            "sent an unexpected response to `show info`: nothing"
        );
    }

    proptest! {
        #[test]
        fn parser_accepts_any_text(info in ".{0,40}", lines in prop::collection::vec("[ -~]{0,60}", 0..6), name in ".{0,9}") {
            let text = lines.join("\n");
            let _ = parse(&name, &info, &text, &text);
            let _ = parse(&name, INFO, &format!("1\n{COLUMNS}\n{text}"), &format!("# svname,scur,qcur\n{text}"));
            let _ = error(&text);
        }

        #[test]
        fn backend_accepts_any_number(numbers in prop::array::uniform6(any::<u32>()), percent in any::<Option<u32>>()) {
            let seen = backend(&[("a", numbers)]);
            let _ = (seen.servers["a"].to_server(), seen.next_admit_step("web", "a", percent));
        }
    }
}
