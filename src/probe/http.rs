//! HTTP probes.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error;
use super::error::{chain, io_error};
use crate::core::fleet::health::{REFUSED, UNRESOLVED, Verdict};
use crate::core::ids::Port;
use crate::probe::route::Route;

const BODY_BYTES_MAX: usize = 64 << 10;
const SHOWN_CHARS_MAX: usize = 200;

/// The client of HTTP probes. No connection is reused between two probes.
#[derive(Debug, Default)]
pub struct Client {
    /// One client for each unix socket, and one for the network.
    clients: Mutex<BTreeMap<Option<PathBuf>, reqwest::Client>>,
}

#[derive(Debug)]
pub(super) struct Expectation<'a> {
    pub(super) status: Option<u16>,
    pub(super) body: Option<&'a str>,
    /// The name of a header, and its value.
    pub(super) header: Option<(&'a str, &'a str)>,
}

impl Client {
    /// A client without connections.
    pub fn new() -> Self {
        Self::default()
    }

    fn for_socket(&self, socket: Option<&Path>) -> Result<reqwest::Client, reqwest::Error> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = socket.map(Path::to_owned);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = build(socket)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn build(socket: Option<&Path>) -> Result<reqwest::Client, reqwest::Error> {
    // reqwest needs a provider even without TLS. An error means that one is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(0)
        // Probes use plain HTTP, and loading the system's certificates would cost more than the
        // probes.
        .tls_certs_only([])
        .user_agent(concat!("ship/", env!("CARGO_PKG_VERSION")));
    match socket {
        Some(path) => builder.unix_socket(path).build(),
        None => builder.build(),
    }
}

pub(super) async fn probe(
    client: &Client,
    route: &Route,
    port: Port,
    path: &str,
    host_header: Option<&str>,
    expected: &Expectation<'_>,
) -> Verdict {
    let client = match client.for_socket(route.socket()) {
        Ok(client) => client,
        Err(e) => return Verdict::Error(innermost(&e)),
    };
    let mut request = client.get(url(route, port, path));
    if let Some(host) = host_header {
        request = request.header(reqwest::header::HOST, host);
    }
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(e) => return failure_verdict(&e, route),
    };
    let status = response.status().as_u16();
    let is_expected_status = expected
        .status
        .map_or((200..400).contains(&status), |expected| status == expected);
    let expected_body = expected.body.filter(|_| is_expected_status);
    let header_problem = expected
        .header
        .and_then(|(name, value)| differing_header(&response, name, value.trim()));
    let mut body = Vec::new();
    while !is_enough(&body, expected_body) {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                body.extend_from_slice(&chunk[..chunk.len().min(BODY_BYTES_MAX - body.len())]);
            }
            Ok(None) => break,
            Err(e) => return Verdict::Fail(format!("HTTP {status}, then {}", innermost(&e))),
        }
    }
    let line = first_line(&String::from_utf8_lossy(&body));
    if !is_expected_status {
        return Verdict::Fail(if line.is_empty() {
            format!("HTTP {status}")
        } else {
            format!("HTTP {status}: {line}")
        });
    }
    if let Some(problem) = header_problem {
        return Verdict::Fail(problem);
    }
    match expected_body {
        Some(text) if !contains(&body, text) => Verdict::Fail(format!(
            "expected a body that contains \"{}\", found \"{line}\"",
            printable(text)
        )),
        _ if line.is_empty() => Verdict::Pass(format!("HTTP {status}")),
        _ => Verdict::Pass(line),
    }
}

/// What is wrong if the response does not have a header with this value.
fn differing_header(response: &reqwest::Response, name: &str, value: &str) -> Option<String> {
    let values = response.headers().get_all(name).iter();
    let found: Vec<_> = values
        .map(|found| String::from_utf8_lossy(found.as_bytes()).trim().to_owned())
        .collect();
    if found.iter().any(|found| found == value) {
        return None;
    }
    let found = if found.is_empty() {
        "no such header".to_owned()
    } else {
        format!("\"{}\"", printable(&found.join(", ")))
    };
    Some(format!(
        "expected the header \"{}: {}\", found {found}",
        printable(name),
        printable(value)
    ))
}

fn url(route: &Route, port: Port, path: &str) -> String {
    let host = match route {
        Route::Direct { address } if address.parse::<Ipv6Addr>().is_ok() => format!("[{address}]"),
        Route::Direct { address } => address.clone(),
        Route::Socket(_) => "localhost".to_owned(),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("http://{host}:{port}{slash}{path}")
}

/// Whether the rest of the body cannot change the verdict. Then it is not read, because an endless
/// body must not use up the deadline.
fn is_enough(body: &[u8], expected: Option<&str>) -> bool {
    body.len() >= BODY_BYTES_MAX
        || match expected {
            Some(text) => contains(body, text),
            None => body.trim_ascii_start().contains(&b'\n'),
        }
}

fn contains(body: &[u8], text: &str) -> bool {
    text.is_empty()
        || body
            .windows(text.len())
            .any(|window| window == text.as_bytes())
}

/// The verdict on a request without a response.
pub(super) fn failure_verdict(error: &reqwest::Error, route: &Route) -> Verdict {
    if error.is_builder() {
        return Verdict::Error(innermost(error));
    }
    if chain(error).any(|cause| cause.to_string().contains("dns error")) {
        let address = match route {
            Route::Direct { address } => address.as_str(),
            Route::Socket(_) => "the address",
        };
        return Verdict::Error(format!(
            "{UNRESOLVED}{address} on this machine: {}",
            innermost(error)
        ));
    }
    match (io_error(error), route) {
        (Some(e), _) if error.is_connect() => error::verdict(e, route),
        // ssh accepts the connection, and closes it if nothing listens at the other end.
        (_, Route::Socket(_)) => Verdict::Fail(format!("{REFUSED} or closed without a response")),
        (Some(e), Route::Direct { .. }) => error::verdict(e, route),
        (None, Route::Direct { .. }) => Verdict::Fail(innermost(error)),
    }
}

pub(super) fn innermost(error: &reqwest::Error) -> String {
    chain(error)
        .last()
        .map_or_else(String::new, |cause| printable(&cause.to_string()))
}

/// The first line that is not blank.
fn first_line(text: &str) -> String {
    printable(
        text.trim_start()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end(),
    )
}

/// Makes text from outside safe for a terminal: short, and without control characters.
pub(super) fn printable(text: &str) -> String {
    let mut chars = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut shown: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_probe_removes_control_characters_from_responses() {
        assert_eq!(first_line("\n  \x1b[2Jready\r\nmore"), "\u{fffd}[2Jready");
        assert_eq!(
            first_line(&"x".repeat(300)).chars().count(),
            SHOWN_CHARS_MAX + 1
        );
    }

    #[test]
    fn http_probe_builds_urls_from_addresses() {
        let direct = |address: &str| Route::Direct {
            address: address.to_owned(),
        };
        assert_eq!(url(&direct("::1"), 80, "/"), "http://[::1]:80/");
        assert_eq!(
            url(&direct("web1"), 8081, "healthz"),
            "http://web1:8081/healthz"
        );
        assert_eq!(
            url(&Route::Socket("/x".into()), 8081, "/a?b"),
            "http://localhost:8081/a?b"
        );
    }
}
