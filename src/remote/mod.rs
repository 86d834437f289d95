//! Floor 2: runs a script on a host, over SSH or here.
//!
//! A [`Connection`] is made once a host, by a [`Connector`], and serves every script, every upload
//! and every forwarded port. What happens on it always ends: connecting, running and closing each
//! have a bound, and whatever was begun on this machine (ssh processes, sockets, local scripts)
//! ends with its owner, even if that is killed.

mod command;
mod connection;
mod connector;
mod control;
mod error;
mod host_link;
mod jump;
mod leash;
mod live;
mod local;
mod login;
mod master;
mod opening;
mod pipes;
mod program;
mod refusal;
mod resolve;
mod settings;
mod shell;
mod site;
mod ssh;
mod target;
mod unavailable;
mod words;

pub use self::connector::Connector;
pub use self::error::{ConnectError, LoginAttempt, RunError};
pub use self::host_link::{Connections, HostLink};
pub use self::leash::{LocalCommand, run_here};
pub use self::live::BEAT;
pub use self::resolve::{link_local, network_address, unreachable_directly};

pub use self::command::{Command, Output};
pub use self::connection::{Connection, Delays};
pub use self::site::{HostSite, ServiceContext};
pub use self::target::Target;
pub use self::unavailable::HostUnavailable;
