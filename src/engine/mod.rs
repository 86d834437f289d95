//! Floor 3: observe → plan → record → perform, until done.
//!
//! [`Engine`] is one loop in one task: it alone changes the fleet and the rollout. What takes time
//! (orders, probes, looks) runs in tasks of its own and reports back through one mailbox. [`World`]
//! is what it acts on.

mod analysis;
mod balancers;
mod chore;
mod clock;
mod hooks;
mod hosts;
mod logs;
mod loss;
mod news;
mod preflight;
mod run;
mod traffic;
mod watch;
mod world;

pub use balancers::Balancing;
pub use chore::{Attempted, Task};
pub use clock::{Clock, SteadyClock};
pub use hosts::{Control, HostSite, Hosts, Releases};
pub use preflight::{Preflight, preflight};
pub use run::{Engine, EngineError, Interrupts};
pub use world::{Order, Performed, Unusable, World};
