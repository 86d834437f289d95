//! Floor 4: observe → plan → record → execute, until done.
//!
//! [`Engine`] is one loop in one task: it alone changes the fleet and the rollout. What takes time
//! (orders, probes, looks) runs in tasks of its own and reports back through one mailbox.
//! [`Executor`] is what it acts on; [`FleetExecutor`] is the real one.

mod actions;
mod analysis;
mod clock;
mod controller;
mod dispatcher;
mod executor;
mod fleet_executor;
mod hooks;
mod inbox;
mod messages;
mod monitor;
mod observer;
mod order_counts;
mod poller;
mod preflight;
mod recorder;
mod requests;
mod status_source;
mod tasks;

pub use clock::{Clock, SteadyClock};
pub use controller::{Engine, EngineError};
pub use executor::{ActionOrder, ActionResult, Executor, TaskOrder, TaskResult};
pub use fleet_executor::{Control, FleetExecutor, Releases};
pub use messages::Interrupts;
pub use preflight::{Preflight, preflight};
