//! The commands of `HAProxy`'s runtime API: each is one line. The response is text, and is empty
//! after a successful change.
//!
//! A closed server is in state `maint`: no client reaches it. In state `drain`, clients that are
//! bound to the server by a cookie or a stick table still reach it. ship therefore uses `drain`
//! only as an intermediate state: before it closes a server, while pending and queued requests
//! finish; and before it opens one, while it waits for the server's own check, which does not run
//! in `maint`.

use crate::core::printable::strip_controls;

/// Shows the process, whose id changes with a reload.
pub const SHOW_INFO: &str = "show info";
/// Shows the permissions of this connection.
pub const SHOW_LEVEL: &str = "show cli level";

/// Shows the servers of a backend.
pub fn show_servers(backend: &str) -> String {
    format!("show servers state {backend}")
}

/// Shows the request counts of a backend's servers.
pub fn show_counts(backend: &str) -> String {
    format!("show stat {backend} 4 -1")
}

/// Stops requests of new clients to a server. Clients that are bound to it still reach it.
pub fn drain(backend: &str, server: &str) -> Vec<String> {
    vec![format!("set server {backend}/{server} state drain")]
}

/// Stops all new requests to a server.
pub fn close(backend: &str, server: &str) -> Vec<String> {
    vec![format!("set server {backend}/{server} state maint")]
}

/// Interrupts pending requests to a server.
pub fn cut(backend: &str, server: &str) -> Vec<String> {
    let mut commands = close(backend, server);
    commands.push(format!("shutdown sessions server {backend}/{server}"));
    commands
}

/// Tries to add a server without an address, which is always rejected. The error shows whether a
/// server with an address would be added.
pub fn try_to_add(backend: &str) -> String {
    format!("add server {backend}/ship-check")
}

/// Whether the error means that the backend accepts no new servers at all.
pub fn rejects_new_servers(error: &str) -> bool {
    [
        "dynamic load balancing",
        "experimental mode",
        "Unknown command",
    ]
    .iter()
    .any(|words| error.contains(words))
}

pub const REJECTS_NEW_SERVERS_HELP: &str = "; servers = \"dynamic\" needs HAProxy 2.6 or later and \
                                         `balance` roundrobin, \
     leastconn, first or random, or `hash-type consistent`";

/// The check of an added server, and its weight.
pub const ADDED_CHECK: &str =
    "check inter 1s fastinter 200ms downinter 200ms rise 2 fall 2 weight 100";

/// Adds a closed server with its own check; `address` is an IP address. `HAProxy` uses the last of
/// two contradicting keywords, so `options` can override the defaults.
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

/// The error in the response to a command, if any.
pub fn error(reply: &str) -> Option<String> {
    let response = reply.trim();
    let is_done = response.is_empty() || response == "New server registered.";
    (!is_done).then(|| excerpt(response).trim_end_matches('.').to_owned())
}

/// Whether the error comes from a process that a reload has replaced.
pub fn is_from_replaced_process(error: &str) -> bool {
    error.contains("Proxy is disabled")
}

/// The beginning of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = strip_controls(&words).take(CHARS_MAX).collect();
    if clean.is_empty() {
        "nothing".to_owned()
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonempty_response_to_a_command_is_an_error() {
        assert_eq!(error("\n"), None);
        assert_eq!(error("New server registered.\n\n"), None);
        assert_eq!(error("No such server.\n\n").unwrap(), "No such server");
        assert_eq!(error("\nPermission denied\n").unwrap(), "Permission denied");
    }
}
