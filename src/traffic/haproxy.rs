//! The language of `HAProxy`'s runtime API: a line asks or orders, text comes back, and an order
//! that was carried out says nothing.
//!
//! Closed is `maint`: nobody gets in. `drain` still admits clients that are bound to the server by
//! a cookie or a stick table, and so it is only a state on the way: out of traffic, while what is
//! under way and what waits in queues ends; and into traffic, while the server's own check, which
//! rests in `maint`, is waited for.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::core::fleet::traffic::{Counters, Gate, Server, View};
use crate::core::ids::Slot;

/// Asks for the process: its id changes when it was reloaded.
pub const SHOW_INFO: &str = "show info";
/// Asks what this connection may do.
pub const SHOW_LEVEL: &str = "show cli level";

/// Bits of `srv_admin_state` that stand for maintenance: forced, inherited from a tracked server,
/// and for want of an address. 0x04 and 0x40 are no states: they say that the configuration has
/// `disabled`, and that a name was set here.
const MAINT: u32 = FORCED_MAINT | 0x02 | 0x20;
/// The one that an order sets.
const FORCED_MAINT: u32 = 0x01;
/// Bits that stand for `drain`: forced, and inherited.
const DRAIN: u32 = 0x08 | 0x10;
/// A bit of `srv_check_state`: checks are enabled.
const CHECKS: u32 = 0x04;
/// `srv_op_state`: down.
const DOWN: u32 = 0;
/// `srv_op_state`: up, or up and warming up.
const UP: [u32; 2] = [1, 2];
/// `srv_check_result`: passed, or passed with a condition.
const PASSED: [u32; 2] = [3, 4];

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// There is no such backend.
    #[error(
        "has no backend `{0}`; name the one that holds the service's servers: backend = \"…\" in \
         [traffic]"
    )]
    NoBackend(String),
    /// It is not what `HAProxy` answers.
    #[error("answers `{question}` with what makes no sense: {said}")]
    Nonsense {
        /// What was asked.
        question: String,
        /// The beginning of what was said.
        said: String,
    },
}

/// A backend, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// The process.
    pub generation: String,
    /// Its servers, by name.
    pub servers: BTreeMap<String, Known>,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    admin_state: u32,
    op_state: u32,
    check_result: u32,
    check_state: u32,
    weight: u32,
    initial_weight: u32,
    in_flight: u32,
    given: Option<u64>,
    counters: Option<Counters>,
}

/// What is to be done next so that a server gets requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Give these orders, one after the other.
    Tell(Vec<String>),
    /// Its own check has not passed it yet: look again.
    Wait,
    /// It cannot be done; why.
    Never(String),
    /// It gets requests.
    Done,
}

/// Asks for the servers of a backend.
pub fn show_servers(backend: &str) -> String {
    format!("show servers state {backend}")
}

/// Asks for what its servers have counted.
pub fn show_counts(backend: &str) -> String {
    format!("show stat {backend} 4 -1")
}

/// Orders that a server get no new clients; those bound to it still get in.
pub fn ease(backend: &str, server: &str) -> Vec<String> {
    vec![format!("set server {backend}/{server} state drain")]
}

/// Orders that a server get no new requests, of nobody.
pub fn close(backend: &str, server: &str) -> Vec<String> {
    vec![format!("set server {backend}/{server} state maint")]
}

/// Orders that what is under way with a server be ended.
pub fn cut(backend: &str, server: &str) -> Vec<String> {
    let mut orders = close(backend, server);
    orders.push(format!("shutdown sessions server {backend}/{server}"));
    orders
}

/// Asks for a server without an address, which is refused; the reason tells whether one with an
/// address would be added.
pub fn try_to_add(backend: &str) -> String {
    format!("add server {backend}/ship-check")
}

/// Whether an objection says that no server can be added to the backend, whichever it is.
pub fn takes_no_servers(objection: &str) -> bool {
    [
        "dynamic load balancing",
        "experimental mode",
        "Unknown command",
    ]
    .iter()
    .any(|words| objection.contains(words))
}

/// What can be done about it.
pub const TAKES_NO_SERVERS_HELP: &str = "; servers = \"dynamic\" needs HAProxy 2.6 or later and \
                                         `balance` roundrobin, \
     leastconn, first or random, or `hash-type consistent`";

/// The check of a server that is added, and its weight.
pub const ADDED_CHECK: &str =
    "check inter 1s fastinter 200ms downinter 200ms rise 2 fall 2 weight 100";

/// Orders that a server be added, closed, with a check of its own; `address` is an IP address. Of
/// two words for the same thing `HAProxy` takes the last, so that `options` may say otherwise.
pub fn add(backend: &str, server: &str, address: &str, port: u16, options: &str) -> Vec<String> {
    let address = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    let order = format!("add server {backend}/{server} {address}:{port} {ADDED_CHECK} {options}");
    vec![
        order.trim_end().to_owned(),
        format!("enable health {backend}/{server}"),
    ]
}

/// What `HAProxy` has to object to an order, if it has.
pub fn objection(reply: &str) -> Option<String> {
    let said = reply.trim();
    let is_done = said.is_empty() || said == "New server registered.";
    (!is_done).then(|| gist(said).trim_end_matches('.').to_owned())
}

/// Whether an objection is that of a process that has given its place to another.
pub fn is_leaving(objection: &str) -> bool {
    objection.contains("Proxy is disabled")
}

/// Reads what it has said to [`SHOW_INFO`], [`show_servers`] and [`show_counts`].
///
/// # Errors
/// If there is no such backend, or the answers make no sense.
pub fn read(backend: &str, info: &str, servers: &str, counts: &str) -> Result<Backend, Unreadable> {
    let nonsense = |question: &str, said: &str| Unreadable::Nonsense {
        question: question.into(),
        said: gist(said),
    };
    let value = |key: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    };
    let pid = value("Pid")
        .filter(|pid| !pid.is_empty())
        .ok_or_else(|| nonsense(SHOW_INFO, info))?;
    let generation = match value("Start_time_sec") {
        // In a container every process may have the same number.
        Some(start) => format!("{pid} since {start}"),
        None => pid.to_owned(),
    };
    let is_absent =
        |said: &str| said.starts_with("Can't find backend") || said.starts_with("No such proxy");
    if is_absent(servers) || is_absent(counts) {
        return Err(Unreadable::NoBackend(backend.to_owned()));
    }
    let mut known =
        read_servers(servers).ok_or_else(|| nonsense(&show_servers(backend), servers))?;
    let counted = read_counts(counts).ok_or_else(|| nonsense(&show_counts(backend), counts))?;
    for (
        name,
        Counted {
            in_flight,
            given,
            counters,
        },
    ) in counted
    {
        if let Some(server) = known.get_mut(&name) {
            (server.in_flight, server.given, server.counters) = (in_flight, given, counters);
        }
    }
    Ok(Backend {
        generation,
        servers: known,
    })
}

/// A version of the format, names of columns after `#`, then a line for each server.
fn read_servers(text: &str) -> Option<BTreeMap<String, Known>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next()?.parse::<u32>().ok()?;
    let columns: Vec<&str> = lines
        .next()?
        .strip_prefix('#')?
        .split_whitespace()
        .collect();
    let at = |name: &str| columns.iter().position(|column| *column == name);
    let name_at = at("srv_name")?;
    let numbers = [
        "srv_admin_state",
        "srv_op_state",
        "srv_check_result",
        "srv_check_state",
        "srv_uweight",
        "srv_iweight",
    ];
    let numbers: Vec<usize> = numbers.into_iter().map(at).collect::<Option<_>>()?;
    let mut servers = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let read = numbers
            .iter()
            .map(|at| fields.get(*at)?.parse::<u32>().ok())
            .collect::<Option<Vec<_>>>()?;
        let [
            admin_state,
            op_state,
            check_result,
            check_state,
            weight,
            initial_weight,
        ] = read[..]
        else {
            return None;
        };
        let known = Known {
            admin_state,
            op_state,
            check_result,
            check_state,
            weight,
            initial_weight,
            ..Known::default()
        };
        servers.insert((*fields.get(name_at)?).to_owned(), known);
    }
    Some(servers)
}

/// Comma-separated values: names of columns after `#`, then a line for each server.
fn read_counts(text: &str) -> Option<BTreeMap<String, Counted>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let columns = split(lines.next()?.trim_start_matches('#').trim_start());
    let at = |name: &str| columns.iter().position(|column| column == name);
    let (name_at, running_at, queued_at) = (at("svname")?, at("scur")?, at("qcur")?);
    let mut counts = BTreeMap::new();
    for line in lines {
        let fields = split(line);
        let text = |at: Option<usize>| at.and_then(|at| fields.get(at)).map(String::as_str);
        let number = |name: &str| text(at(name)).and_then(|text| text.parse::<u64>().ok());
        let count = |at: usize| text(Some(at)).and_then(|text| text.parse::<u32>().ok());
        let queued = count(queued_at).unwrap_or(0);
        let in_flight = count(running_at)?.saturating_add(queued);
        // What waits in the queue is given to it whatever its state.
        let given = number("stot").filter(|_| queued == 0);
        counts.insert(
            fields.get(name_at)?.clone(),
            Counted {
                in_flight,
                given,
                counters: counters(number),
            },
        );
    }
    Some(counts)
}

/// What a server has counted.
struct Counted {
    in_flight: u32,
    given: Option<u64>,
    counters: Option<Counters>,
}

fn counters(number: impl Fn(&str) -> Option<u64>) -> Option<Counters> {
    const ANSWERS: [&str; 6] = [
        "hrsp_1xx",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
    ];
    let sum = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| number(name))
            .fold(0, u64::saturating_add)
    };
    let unanswered = sum(&["econ", "eresp"]);
    // Where it does not speak HTTP it counts connections.
    let answered = if ANSWERS.iter().any(|name| number(name).is_some()) {
        sum(&ANSWERS)
    } else {
        number("stot")?
    };
    let requests = answered.saturating_add(unanswered);
    let errors = sum(&["hrsp_5xx"]).saturating_add(unanswered);
    let mean_ms = number("rtime")
        .filter(|_| requests > 0)
        .and_then(|mean| u32::try_from(mean).ok());
    Some(Counters {
        requests,
        errors,
        mean_ms,
    })
}

/// The fields of a line; what holds a comma is in double quotes.
fn split(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for c in line.trim_end().chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => fields
                .last_mut()
                .into_iter()
                .for_each(|field| field.push(c)),
        }
    }
    fields
}

/// The beginning of a text, on one line.
fn gist(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = words
        .chars()
        .filter(|c| !c.is_control())
        .take(CHARS_MAX)
        .collect();
    if clean.is_empty() {
        "nothing".to_owned()
    } else {
        clean
    }
}

impl Backend {
    /// What it says of the slots, whose servers have these names.
    pub fn view(&self, names: &BTreeMap<Slot, String>) -> View {
        let servers = names
            .iter()
            .filter_map(|(slot, name)| Some((slot.clone(), self.servers.get(name)?.server())));
        View {
            epoch: None,
            generation: self.generation.clone(),
            servers: servers.collect(),
        }
    }

    /// What is to be done next so that a server gets requests: `None` for the full weight, or so
    /// many percent of it.
    pub fn opening(&self, backend: &str, name: &str, weight_percent: Option<u32>) -> Step {
        let Some(known) = self.servers.get(name) else {
            return Step::Never(format!("backend {backend} has no server `{name}`"));
        };
        if known.admin_state & FORCED_MAINT != 0 {
            let mut orders = ease(backend, name);
            if known.is_checked() {
                // Out of maintenance it counts as up until a check says otherwise, and what passed
                // was another one.
                orders.push(format!("set server {backend}/{name} health down"));
            }
            return Step::Tell(orders);
        }
        if known.admin_state & MAINT != 0 || !known.is_open() && known.server().is_up == Some(false)
        {
            return Step::Wait;
        }
        let percent = weight_percent.unwrap_or(100);
        let weight = known.initial_weight.saturating_mul(percent) / 100;
        if weight == 0 {
            return Step::Never(format!(
                "{percent} % of the weight of server `{name}`, which is {}, is none; give its \
                 line `weight 100`",
                known.initial_weight
            ));
        }
        let mut orders = Vec::new();
        if known.weight != weight {
            orders.push(format!("set weight {backend}/{name} {percent}%"));
        }
        if known.admin_state & DRAIN != 0 {
            orders.push(format!("set server {backend}/{name} state ready"));
        }
        if orders.is_empty() {
            Step::Done
        } else {
            Step::Tell(orders)
        }
    }
}

impl Known {
    fn gate(&self) -> Gate {
        match self.admin_state {
            state if state & MAINT != 0 => Gate::Closed,
            // No weight is as good as `drain`.
            state if state & DRAIN != 0 || self.weight == 0 => Gate::Bound,
            _ => Gate::Open,
        }
    }

    fn is_open(&self) -> bool {
        self.gate() == Gate::Open
    }

    fn is_checked(&self) -> bool {
        self.check_state & CHECKS != 0
    }

    /// The server as it matters to a rollout.
    pub fn server(&self) -> Server {
        let is_up = match self.op_state {
            DOWN => Some(false),
            _ if !self.is_checked() => None,
            // What gets requests gets them until enough checks have failed; what is to get some
            // must have passed one.
            state => {
                Some(UP.contains(&state) && (self.is_open() || PASSED.contains(&self.check_result)))
            }
        };
        let percent = self
            .weight
            .saturating_mul(100)
            .checked_div(self.initial_weight);
        Server {
            gate: self.gate(),
            is_up,
            in_flight: self.in_flight,
            given: self.given,
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

    const INFO: &str = "Name: HAProxy\nVersion: 2.6.12\nPid: 4711\nUptime: 0d 0h00m01s\n\n";
    const COLUMNS: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state \
                           srv_uweight srv_iweight \
                           srv_time_since_last_change srv_check_status srv_check_result \
                           srv_check_health \
                           srv_check_state srv_agent_state";

    /// Servers, each by its name and `op_state admin_state uweight iweight check_result
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
        read("web", INFO, &(text + "\n"), &(counts + "\n")).unwrap()
    }

    fn server(state: [u32; 6]) -> Server {
        backend(&[("a", state)]).servers["a"].server()
    }

    const READY: [u32; 6] = [2, 0, 1, 1, 3, 6];
    const DRAINED: [u32; 6] = [2, 8, 1, 1, 3, 6];

    #[test]
    fn a_view_is_what_it_says_of_the_slots_servers() {
        let names = [("a", 1), ("b", 2), ("c", 3)].map(|(name, port)| {
            (
                Slot {
                    host: "web1".into(),
                    port,
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
                    port,
                })
                .copied()
        };
        let counters = Some(Counters {
            requests: 103,
            errors: 13,
            mean_ms: Some(7),
        });
        let (weight_percent, given) = (Some(100), None);
        let open = Server {
            gate: Gate::Open,
            is_up: Some(true),
            in_flight: 5,
            given,
            weight_percent,
            counters,
        };
        assert_eq!(of(1), Some(open));
        assert_eq!(
            of(2),
            Some(Server {
                gate: Gate::Bound,
                ..open
            })
        );
        assert_eq!(of(3), None, "it has no such server");
        assert_eq!(view.servers.len(), 2, "others are nobody's business");
    }

    #[test]
    fn up_is_what_it_acts_on_and_for_what_is_closed_a_check_that_passed() {
        assert_eq!(server([0, 0, 1, 1, 2, 6]).is_up, Some(false), "down");
        assert_eq!(
            server([2, 0, 1, 1, 2, 6]).is_up,
            Some(true),
            "one check failed, it still sends"
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
            server([2, 0, 0, 1, 3, 6]).gate,
            Gate::Bound,
            "no weight, no new clients"
        );
        assert_eq!(server([2, 0, 10, 100, 3, 6]).weight_percent, Some(10));
    }

    #[test]
    fn what_the_configuration_says_is_no_state() {
        assert_eq!(
            server([2, 0x04, 1, 1, 3, 6]).gate,
            Gate::Open,
            "`disabled` in its line, and made ready since"
        );
        assert_eq!(
            server([2, 0x40, 1, 1, 3, 6]).gate,
            Gate::Open,
            "its name was set by an order"
        );
        for maint in [0x01, 0x02, 0x05, 0x20] {
            assert_eq!(
                server([0, maint, 1, 1, 3, 6]).gate,
                Gate::Closed,
                "{maint:#x}"
            );
        }
        for drain in [0x08, 0x10, 0x0c] {
            assert_eq!(
                server([2, drain, 1, 1, 3, 6]).gate,
                Gate::Bound,
                "{drain:#x}"
            );
        }
    }

    #[test]
    fn a_server_without_a_queue_tells_how_much_it_was_given() {
        let counts = "# pxname,svname,qcur,scur,stot,\nweb,a,0,1,41,\nweb,b,1,1,41,\n";
        let counted = read_counts(counts).expect("a table");
        assert_eq!((counted["a"].given, counted["b"].given), (Some(41), None));
    }

    #[test]
    fn it_is_opened_when_its_check_has_passed() {
        let step = |state, weight| backend(&[("a", state)]).opening("web", "a", weight);
        let tell =
            |orders: &[&str]| Step::Tell(orders.iter().map(|order| (*order).to_owned()).collect());
        let drain = "set server web/a state drain";
        assert_eq!(
            step([0, 1, 1, 1, 0, 6], None),
            tell(&[drain, "set server web/a health down"])
        );
        assert_eq!(
            step([2, 5, 1, 1, 0, 0], None),
            tell(&[drain]),
            "what is never checked would stay down"
        );
        assert_eq!(
            step([0, 0x20, 1, 1, 0, 6], None),
            Step::Wait,
            "it has no address yet"
        );
        assert_eq!(
            step([2, 0x0c, 1, 1, 3, 6], None),
            tell(&["set server web/a state ready"])
        );
        assert_eq!(step([2, 4, 1, 1, 3, 6], None), Step::Done);
        assert_eq!(step([0, 8, 1, 1, 2, 6], None), Step::Wait);
        assert_eq!(step(DRAINED, None), tell(&["set server web/a state ready"]));
        let weighed = tell(&["set weight web/a 5%", "set server web/a state ready"]);
        assert_eq!(step([2, 8, 100, 100, 3, 6], Some(5)), weighed);
        assert_eq!(
            step([2, 0, 5, 100, 3, 6], None),
            tell(&["set weight web/a 100%"])
        );
        assert_eq!(step(READY, None), Step::Done);
        assert!(matches!(step(READY, Some(5)), Step::Never(why) if why.contains("weight 100")));
        assert!(matches!(
            backend(&[]).opening("web", "a", None),
            Step::Never(_)
        ));
    }

    #[test]
    fn an_order_that_is_answered_was_not_carried_out() {
        assert_eq!(objection("\n"), None);
        assert_eq!(objection("New server registered.\n\n"), None);
        assert_eq!(objection("No such server.\n\n").unwrap(), "No such server");
        assert_eq!(
            objection("\nPermission denied\n").unwrap(),
            "Permission denied"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let absent = read("web", INFO, "Can't find backend.\n", "No such proxy.\n").unwrap_err();
        assert!(
            absent.to_string().starts_with("has no backend `web`"),
            "{absent}"
        );
        let nonsense = read("web", "", "", "").unwrap_err();
        assert_eq!(
            nonsense.to_string(),
            "answers `show info` with what makes no sense: nothing"
        );
    }

    proptest! {
        #[test]
        fn no_text_stops_it(info in ".{0,40}", lines in prop::collection::vec("[ -~]{0,60}", 0..6), name in ".{0,9}") {
            let text = lines.join("\n");
            let _ = read(&name, &info, &text, &text);
            let _ = read(&name, INFO, &format!("1\n{COLUMNS}\n{text}"), &format!("# svname,scur,qcur\n{text}"));
            let _ = objection(&text);
        }

        #[test]
        fn no_number_stops_it(numbers in prop::array::uniform6(any::<u32>()), percent in any::<Option<u32>>()) {
            let seen = backend(&[("a", numbers)]);
            let _ = (seen.servers["a"].server(), seen.opening("web", "a", percent));
        }
    }
}
