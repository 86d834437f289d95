//! Parses the responses of `HAProxy`.

use std::collections::BTreeMap;

use thiserror::Error;

use super::backend::{Backend, ServerState};
use super::protocol::{SHOW_INFO, excerpt, show_counts, show_servers};
use crate::core::fleet::traffic::Counters;

/// Why a response cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ResponseError {
    #[error(
        "has no backend `{0}`; set backend = \"…\" in [traffic] to the one with the service's servers"
    )]
    NoBackend(String),
    /// The response is not in `HAProxy`'s format.
    #[error("sent an unexpected response to `{command}`: {response}")]
    Malformed {
        command: String,
        /// The beginning of the response.
        response: String,
    },
}

/// Parses the responses to [`SHOW_INFO`], [`show_servers`] and [`show_counts`].
///
/// # Errors
/// If the backend does not exist, or a response has an unexpected format.
pub(super) fn parse(
    backend: &str,
    info: &str,
    servers: &str,
    counts: &str,
) -> Result<Backend, ResponseError> {
    let malformed = |command: &str, response: &str| ResponseError::Malformed {
        command: command.into(),
        response: excerpt(response),
    };
    let value = |key: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    };
    let pid = value("Pid")
        .filter(|pid| !pid.is_empty())
        .ok_or_else(|| malformed(SHOW_INFO, info))?;
    let generation = match value("Start_time_sec") {
        // In a container, every process may have the same process ID.
        Some(start) => format!("{pid} since {start}"),
        None => pid.to_owned(),
    };
    let is_absent = |response: &str| {
        response.starts_with("Can't find backend") || response.starts_with("No such proxy")
    };
    if is_absent(servers) || is_absent(counts) {
        return Err(ResponseError::NoBackend(backend.to_owned()));
    }
    let mut known =
        parse_servers(servers).ok_or_else(|| malformed(&show_servers(backend), servers))?;
    let counted = parse_counts(counts).ok_or_else(|| malformed(&show_counts(backend), counts))?;
    for (
        name,
        ServerCounts {
            in_flight,
            requests_total,
            counters,
        },
    ) in counted
    {
        if let Some(server) = known.get_mut(&name) {
            (server.in_flight, server.requests_total, server.counters) =
                (in_flight, requests_total, counters);
        }
    }
    Ok(Backend {
        generation,
        servers: known,
    })
}

/// Parses a format version, column names after `#`, and a line for each server.
fn parse_servers(text: &str) -> Option<BTreeMap<String, ServerState>> {
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
        let values = numbers
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
        ] = values[..]
        else {
            return None;
        };
        let known = ServerState {
            admin_state,
            op_state,
            check_result,
            check_state,
            weight,
            initial_weight,
            ..ServerState::default()
        };
        servers.insert((*fields.get(name_at)?).to_owned(), known);
    }
    Some(servers)
}

/// Parses comma-separated values: column names after `#`, and a line for each server.
pub(super) fn parse_counts(text: &str) -> Option<BTreeMap<String, ServerCounts>> {
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
        // Requests in the queue are assigned to the server regardless of its state, so the total
        // may still grow.
        let requests_total = number("stot").filter(|_| queued == 0);
        counts.insert(
            fields.get(name_at)?.clone(),
            ServerCounts {
                in_flight,
                requests_total,
                counters: counters(number),
            },
        );
    }
    Some(counts)
}

pub(super) struct ServerCounts {
    in_flight: u32,
    pub(super) requests_total: Option<u64>,
    counters: Option<Counters>,
}

fn counters(number: impl Fn(&str) -> Option<u64>) -> Option<Counters> {
    const RESPONSE_COUNTERS: [&str; 6] = [
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
    // In TCP mode, there are no HTTP statuses, and `stot` counts connections.
    let answered = if RESPONSE_COUNTERS.iter().any(|name| number(name).is_some()) {
        sum(&RESPONSE_COUNTERS)
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

/// The fields of a line; a field with a comma is in double quotes.
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
