//! The controller: observes, plans, records and executes until the rollout has finished.
//!
//! [`Engine`] is one loop in one task, and nothing else changes the fleet or the rollout. Actions,
//! probes and observations take time, so each runs in its own task and reports to the inbox. The
//! controller acts through the trait [`Executor`]; [`FleetExecutor`] implements it for real hosts.

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
mod store_calls;
mod tasks;

pub use clock::{Clock, ShiftedClock, SteadyClock};
pub use controller::{Engine, EngineError};
pub use executor::{ActionOrder, ActionResult, Executor, TaskOrder, TaskResult};
pub use fleet_executor::{FleetExecutor, LocalCommandSettings, Releases};
pub use messages::Interrupts;
pub use preflight::{Preflight, preflight};
