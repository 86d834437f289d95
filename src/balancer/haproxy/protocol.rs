//! The language of `HAProxy`'s runtime API: a line asks or orders, text comes back, and an order
//! that was carried out says nothing.
//!
//! Closed is `maint`: nobody gets in. `drain` still admits clients that are bound to the server by
//! a cookie or a stick table, and so it is only a state on the way: out of traffic, while what is
//! under way and what waits in queues ends; and into traffic, while the server's own check, which
//! rests in `maint`, is waited for.

use crate::core::printable::strip_controls;

/// Asks for the process, whose id changes with a reload.
pub const SHOW_INFO: &str = "show info";
/// Asks what this connection may do.
pub const SHOW_LEVEL: &str = "show cli level";

/// Asks for the servers of a backend.
pub fn show_servers(backend: &str) -> String {
    format!("show servers state {backend}")
}

/// Asks for the request counts of a backend's servers.
pub fn show_counts(backend: &str) -> String {
    format!("show stat {backend} 4 -1")
}

/// Orders to stop new clients to a server; bound clients still reach it.
pub fn ease(backend: &str, server: &str) -> Vec<String> {
    vec![format!("set server {backend}/{server} state drain")]
}

/// Orders to stop all new requests to a server.
pub fn close(backend: &str, server: &str) -> Vec<String> {
    vec![format!("set server {backend}/{server} state maint")]
}

/// Orders to end the requests under way to a server.
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

/// Whether the objection is that the backend accepts no new servers at all.
pub fn takes_no_servers(objection: &str) -> bool {
    [
        "dynamic load balancing",
        "experimental mode",
        "Unknown command",
    ]
    .iter()
    .any(|words| objection.contains(words))
}

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

/// The objection of `HAProxy` to an order, if it has one.
pub fn objection(reply: &str) -> Option<String> {
    let said = reply.trim();
    let is_done = said.is_empty() || said == "New server registered.";
    (!is_done).then(|| gist(said).trim_end_matches('.').to_owned())
}

/// Whether the objection comes from a process that a reload has replaced.
pub fn is_leaving(objection: &str) -> bool {
    objection.contains("Proxy is disabled")
}

/// The beginning of a text, on one line.
pub(super) fn gist(text: &str) -> String {
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
    fn an_order_that_is_answered_was_not_carried_out() {
        assert_eq!(objection("\n"), None);
        assert_eq!(objection("New server registered.\n\n"), None);
        assert_eq!(objection("No such server.\n\n").unwrap(), "No such server");
        assert_eq!(
            objection("\nPermission denied\n").unwrap(),
            "Permission denied"
        );
    }
}
