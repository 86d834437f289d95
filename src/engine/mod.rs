//! Floor 4: observe → plan → record → execute, until done.
//!
//! [`Engine`] is one loop in one task: it alone changes the fleet and the rollout. What takes time
//! (orders, probes, looks) runs in tasks of its own and reports back through one mailbox.
//! [`Executor`] is what it acts on; [`FleetExecutor`] is the real one.

mod analysis;
mod chore;
mod clock;
mod executor;
mod fleet_executor;
mod hooks;
mod loss;
mod news;
mod preflight;
mod run;
mod watch;

pub use clock::{Clock, SteadyClock};
pub use executor::{ActionResult, Executor, Order, Task, TaskResult};
pub use fleet_executor::{Control, FleetExecutor, Releases};
pub use preflight::{Preflight, preflight};
pub use run::{Engine, EngineError, Interrupts};
