//! Floor 2: probes whether an instance is ready, monitors availability, and takes the measurements
//! of analyses.
//!
//! A probe has one of three results: the instance passes, the instance fails, or the prober has a
//! problem that is unrelated to the instance. Each probe uses a new connection, because an old one
//! would show a past state of the instance.

mod analysis;
mod error;
mod http;
mod monitor;
mod route;
mod tcp;

use std::time::Duration;

use tokio::time::timeout;

pub use self::analysis::{measure_http, measure_prometheus};
pub use self::http::Client;
pub use self::monitor::{Monitor, NowFn};

pub use self::route::Route;
use crate::core::fleet::health::Verdict;
use crate::core::ids::Port;
use crate::core::time::Human;

/// A probe from this machine. (A command on the host is a script.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortProbe {
    /// Connects to the port.
    Tcp,
    /// Sends a GET request and evaluates the response.
    Http {
        /// The path and query: `/healthz`.
        path: String,
        /// The only status that passes; `None` for any from 200 to 399.
        status: Option<u16>,
        /// The text that the first 64 KiB of the response must contain.
        body: Option<String>,
        /// The `Host` header; `None` for the address of the request.
        host_header: Option<String>,
        /// The header that the response must have, as `Name: value`.
        header: Option<String>,
    },
}

/// Probes once, within `deadline`.
pub async fn probe(
    client: &Client,
    port_probe: &PortProbe,
    route: &Route,
    port: Port,
    deadline: Duration,
) -> Verdict {
    let response = async {
        match port_probe {
            PortProbe::Tcp => tcp::probe(route, port, deadline).await,
            PortProbe::Http {
                path,
                status,
                body,
                host_header,
                header,
            } => {
                let expected = http::Expectation {
                    status: *status,
                    body: body.as_deref(),
                    header: header.as_deref().and_then(|header| header.split_once(':')),
                };
                http::probe(client, route, port, path, host_header.as_deref(), &expected).await
            }
        }
    };
    timeout(deadline, response)
        .await
        .unwrap_or_else(|_| Verdict::Fail(format!("no answer within {}", Human(deadline))))
}
