//! Why a request to etcd failed, and what that means for the caller.

use std::error::Error;
use std::io;

use reqwest::StatusCode;

use super::messages::ErrorAnswer;
use crate::store::error::StoreError;

const SHOWN_CHARS_MAX: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EtcdErrorKind {
    /// It may work again later. The request may have been executed.
    Unavailable,
    /// It may work at another endpoint or later. The request was certainly not executed.
    NotExecuted,
    /// It will not work before an operator changes something. The request was not executed.
    Rejected,
    /// It will not work at this endpoint before an operator changes something, but it may work at
    /// another one. The request was not executed.
    RejectedEndpoint,
    /// The token has expired, or the member does not know it. The request was not executed.
    InvalidToken,
    /// The lease does not exist.
    LeaseNotFound,
    /// The revision can no longer be read.
    Compacted,
}

#[derive(Debug)]
pub(super) struct EtcdError {
    pub(super) kind: EtcdErrorKind,
    pub(super) why: String,
    pub(super) hint: String,
}

const HINT_REACH: &str = "check that etcd is running and that this machine can reach its client \
                          URLs: `etcdctl endpoint health`";
const HINT_LEADER: &str = "a majority of the members must be running and reach each other: \
                           `etcdctl endpoint status --cluster`; then try again";
const HINT_SPACE: &str = "compact and defragment etcd, then run `etcdctl alarm disarm`";
const HINT_LOGIN: &str = "correct the user and the password in the URL, or in ETCDCTL_USER and \
                          ETCDCTL_PASSWORD";
const HINT_GATEWAY: &str = "the URL must name client URLs of etcd 3.4 or newer, with \
                            `--enable-grpc-gateway`";
const HINT_TLS: &str = "correct `ca` in the URL (or ETCDCTL_CACERT), and name the endpoints as in \
                        their certificates";
const HINT_CLIENT_CERTIFICATE: &str = "the endpoint requires a client certificate that it trusts: \
                                       correct `cert` and `key` in the URL";
const HINT_CLOSED: &str = "check that etcd is running; if its client URLs begin with https, add \
                           `?tls=true` to the URL";
const HINT_HANDSHAKE: &str = "check that etcd is running; if its client URLs begin with http:, \
                              replace the options of the URL with `?tls=false`";
const HINT_CLOSED_TLS: &str = "check that etcd is running; if it requires client certificates \
                               (`--client-cert-auth`), correct `cert` and `key` in the URL";
const HINT_PLAIN: &str = "the endpoint does not use TLS, or no version of it that ship supports: \
                          compare the URL with `--listen-client-urls` of etcd";

impl EtcdError {
    pub(super) fn new(
        kind: EtcdErrorKind,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            why: why.into(),
            hint: hint.into(),
        }
    }

    pub(super) fn rejected(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(EtcdErrorKind::Rejected, why, hint)
    }

    /// The endpoint did not answer in time.
    pub(super) fn timeout(seconds: f64) -> Self {
        let why = format!("no answer within {seconds:.1} s");
        Self::new(EtcdErrorKind::Unavailable, why, HINT_REACH)
    }

    /// The error for the user of the store.
    pub(super) fn into_store_error(self, location: &str, doing: &str) -> StoreError {
        let location = location.to_owned();
        let why = format!("cannot {doing}: {}", self.why);
        let hint = self.hint;
        match self.kind {
            EtcdErrorKind::Rejected
            | EtcdErrorKind::RejectedEndpoint
            | EtcdErrorKind::InvalidToken => StoreError::Rejected {
                location,
                why,
                hint,
            },
            _ => StoreError::Unavailable {
                location,
                why,
                hint,
            },
        }
    }

    /// The error that etcd answered with. `prefix` is that of the keys, for the hint.
    pub(super) fn from_answer(answer: &ErrorAnswer, prefix: &str) -> Self {
        use EtcdErrorKind::{
            Compacted, InvalidToken, LeaseNotFound, NotExecuted, Rejected, Unavailable,
        };
        let text = answer.text.as_str();
        let has = |part: &str| text.contains(part);
        let (kind, hint) = if has("database space exceeded") {
            (Unavailable, HINT_SPACE.to_owned())
        } else if has("etcdserver: no leader") || has("not supported for learner") {
            // Only the check before a request answers so.
            (NotExecuted, HINT_LEADER.to_owned())
        } else if has("leader changed") || has("request timed out") || has("leader transfer") {
            (Unavailable, HINT_LEADER.to_owned())
        } else if has("too many requests") {
            (Unavailable, "try again when etcd has less to do".to_owned())
        } else if has("invalid auth token") || has("revision of auth store is old") {
            (InvalidToken, HINT_LOGIN.to_owned())
        } else if has("user name is empty") || has("authentication failed") {
            (Rejected, HINT_LOGIN.to_owned())
        } else if has("permission denied") {
            let hint = format!(
                "grant a role of the user the keys under `{prefix}/`: `etcdctl role \
                 grant-permission ROLE readwrite --prefix=true {prefix}/`"
            );
            (Rejected, hint)
        } else if has("requested lease not found") {
            (LeaseNotFound, "deploy again".to_owned())
        } else if has("has been compacted") {
            (Compacted, "try again".to_owned())
        } else if has("too large") || has("too many operations") {
            let hint = "raise `--max-request-bytes` or `--max-txn-ops` of etcd".to_owned();
            (Rejected, hint)
        } else if has("authentication is not enabled") {
            (Rejected, "remove the user from the URL".to_owned())
        } else {
            // The codes of gRPC: invalid argument, not found, already exists, permission denied,
            // failed precondition, out of range, unimplemented, unauthenticated.
            let kind = match answer.code {
                3 | 5 | 6 | 7 | 9 | 11 | 12 | 16 => Rejected,
                _ => Unavailable,
            };
            (kind, "read the log of etcd".to_owned())
        };
        Self::new(kind, format!("etcd answered `{}`", printable(text)), hint)
    }

    /// An answer that is not one of etcd's gateway.
    pub(super) fn from_status(status: StatusCode, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let first_line = printable(text.lines().next().unwrap_or_default().trim());
        let why = format!("the answer is not one of etcd: HTTP {status} `{first_line}`");
        if text.contains("HTTP request to an HTTPS server") {
            let hint = "the endpoint uses TLS: add `?tls=true` to the URL";
            return Self::new(EtcdErrorKind::RejectedEndpoint, why, hint);
        }
        if status.is_server_error() {
            return Self::new(EtcdErrorKind::Unavailable, why, HINT_REACH);
        }
        Self::new(EtcdErrorKind::RejectedEndpoint, why, HINT_GATEWAY)
    }

    /// An answer that cannot be decoded. It may be that of a transaction that was committed.
    pub(super) fn undecodable(why: &serde_json::Error) -> Self {
        let why = format!("the answer is not one of etcd: {why}");
        Self::new(EtcdErrorKind::Unavailable, why, HINT_GATEWAY)
    }

    /// A failure to connect, to send the request or to receive the answer.
    pub(super) fn from_request(error: &reqwest::Error) -> Self {
        if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref()) {
            return Self::from_tls(tls);
        }
        let innermost = causes(error).last().map(ToString::to_string);
        let what = match causes(error).filter_map(io_kind).last() {
            Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
            Some(io::ErrorKind::ConnectionReset) => "connection reset".to_owned(),
            // Reading with TLS and writing fail so after the end of the stream.
            Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) => {
                "connection closed".to_owned()
            }
            _ if error.is_timeout() => "cannot connect in time".to_owned(),
            _ => printable(&innermost.unwrap_or_default()),
        };
        let kind = if error.is_connect() || error.is_builder() {
            EtcdErrorKind::NotExecuted
        } else {
            EtcdErrorKind::Unavailable
        };
        let is_ended = what == "connection reset" || what.starts_with("connection closed");
        let hint = if is_ended && error.is_request() {
            hint_of_ended_connection(error)
        } else {
            HINT_REACH
        };
        Self::new(kind, what, hint)
    }

    fn from_tls(error: &rustls::Error) -> Self {
        let hint = match error {
            rustls::Error::InvalidCertificate(_) => HINT_TLS,
            rustls::Error::AlertReceived(_) => HINT_CLIENT_CERTIFICATE,
            _ => HINT_PLAIN,
        };
        let why = printable(&error.to_string());
        Self::new(EtcdErrorKind::RejectedEndpoint, why, hint)
    }
}

/// The hint for a connection that the endpoint ended before it answered.
///
/// etcd ends a connection that begins with TLS although it uses none, and the reverse. It also ends
/// one without a client certificate that it requires, after the handshake of TLS 1.3. If it has left
/// bytes unread, its kernel sends a reset, before which even the reason that etcd sent may be lost.
fn hint_of_ended_connection(error: &reqwest::Error) -> &'static str {
    let uses_tls = error.url().is_some_and(|url| url.scheme() == "https");
    match (uses_tls, error.is_connect()) {
        (true, true) => HINT_HANDSHAKE,
        (true, false) => HINT_CLOSED_TLS,
        (false, _) => HINT_CLOSED,
    }
}

/// An error and its causes, the outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        // The source of an I/O error is not the error inside of it, but the source of that one.
        match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    error.downcast_ref().map(io::Error::kind)
}

/// Makes text from outside safe for a terminal: short, and without control characters.
fn printable(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(SHOWN_CHARS_MAX).map(visible).collect()
}
