//! Floor 2: runs scripts on a host, over SSH or on this machine.
//!
//! A [`Connector`] makes one [`Connection`] per host, which serves every script, every upload
//! and every forwarded port. Connecting, running and closing each have a time limit, and everything
//! that was started on this machine (ssh processes, sockets, local scripts) ends with its owner,
//! even if the owner is killed.

mod command;
mod connection;
mod connector;
mod control;
mod end_mark;
mod error;
mod escalation;
mod held_releases;
mod host_link;
mod host_shell;
mod host_site;
mod input_file;
mod jump;
mod keeping;
mod kept_connections;
mod known_hosts;
mod local;
mod login;
mod login_files;
mod lookup;
mod master;
mod master_files;
mod preamble;
mod program;
mod relay_key;
mod resolve;
mod resolved_name;
mod sanitize;
mod saved_output;
mod shell;
mod ssh;
mod ssh_config;
mod ssh_endpoint;
mod ssh_error;
mod stdio;
mod streaming;
mod sudo_dialog;
mod sudo_password;
mod supervised;
mod target;
mod unavailable;

pub use self::connector::Connector;
pub use self::error::{ConnectError, LoginAttempt, RunError};
pub use self::held_releases::HeldReleases;
pub use self::host_link::{Connections, HostLink, SharedLinks};
pub use self::kept_connections::{ClosedConnections, KeptConnections, NotPrivate};
pub use self::relay_key::RelayKey;
pub use self::resolve::{direct_probe_problem, link_local_problem, network_address};
pub use self::saved_output::SavedOutput;
pub use self::ssh_endpoint::SshEndpoint;
pub use self::streaming::HEARTBEAT;
pub use self::sudo_password::SudoPassword;
pub use self::supervised::{LocalCommand, run_supervised};

pub use self::command::{Command, Output};
pub use self::connection::{Connection, Delays};
pub use self::host_site::{HostSite, ServiceContext};
pub use self::target::Target;
pub use self::unavailable::HostUnavailable;
