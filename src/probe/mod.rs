//! Floor 2: probes whether an instance is ready, and gets the numbers to judge a version by.
//!
//! A probe ends in one of three ways: the instance passes, it fails, or the prober itself has a
//! problem, which says nothing about the instance. Each probe is a connection of its own: an old
//! one would show how the instance was.

mod analysis;
mod http;
mod monitor;
mod route;
mod tcp;
mod trouble;

use std::time::Duration;

use tokio::time::timeout;

pub use self::analysis::{measure_http, measure_prometheus};
pub use self::http::Client;
pub use self::monitor::{Monitor, Now};

pub use self::route::Route;
use crate::core::fleet::health::Verdict;
use crate::core::ids::Port;
use crate::core::time::Human;

/// A probe from this machine. (A command on the host is a script.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortProbe {
    /// Connects to the port.
    Tcp,
    /// Sends a GET and judges the answer.
    Http {
        /// The path and query: `/healthz`.
        path: String,
        /// The only status that passes; `None` for any from 200 to 399.
        status: Option<u16>,
        /// The text that the answer's first 64 KiB must contain.
        body: Option<String>,
        /// The `Host` header; `None` for the address of the request.
        host_header: Option<String>,
    },
}

/// Probes once, within `deadline`.
pub async fn ask(
    client: &Client,
    question: &PortProbe,
    route: &Route,
    port: Port,
    deadline: Duration,
) -> Verdict {
    let answer = async {
        match question {
            PortProbe::Tcp => tcp::ask(route, port, deadline).await,
            PortProbe::Http {
                path,
                status,
                body,
                host_header,
            } => {
                let wanted = http::Expectation {
                    status: *status,
                    body: body.as_deref(),
                };
                http::ask(client, route, port, path, host_header.as_deref(), &wanted).await
            }
        }
    };
    timeout(deadline, answer)
        .await
        .unwrap_or_else(|_| Verdict::Fail(format!("no answer within {}", Human(deadline))))
}
