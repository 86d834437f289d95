//! Floor 3: the balancers in front of the instances: how ship observes and changes them.
//!
//! A [`BalancerGroup`] contains all balancers of a service. A [`BalancerDriver`] controls each of
//! them over a [`Link`] to its machine. A new driver needs one file here and one line in
//! [`registry`], and the parsing of its settings in `config`.

mod command;
mod drain;
mod driver;
mod error;
mod group;
pub mod haproxy;
mod link;
mod machine;
mod nftables;
mod nginx;
mod process_generation;
pub mod registry;
mod script_driver;
mod slots;
#[cfg(test)]
mod tests;

pub use self::drain::{DrainEnd, drain};
pub use self::driver::{BalancerDriver, DrainMode, DriverContext, SlotChange};
pub use self::error::{BalancerError, SwitchError};
pub use self::group::{BalancerGroup, Balancing, SlotViews};
pub use self::link::{Link, SocketError};
pub use self::machine::BalancerMachine;
pub use self::slots::{ReleaseServer, SlotDirectory, SlotHost};
