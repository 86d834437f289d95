//! Floor 1: from orders to POSIX sh, and from what it prints back to facts. Builders and parsers;
//! nothing runs here.
//!
//! A script is a head of assignments, each value through [`quote()`], and the texts under `sh/`,
//! which never change. A shell on the host reads it from standard input, before [`Input`], which is
//! the script's own. It may end before it has read all of that: a broken pipe while sending is no
//! error. Below `base_dir/SERVICE` lie:
//!
//! ```text
//! unread                 units have changed, and systemd may not have read them yet (systemd driver)
//! lock, epoch            one script at a time; the newest fencing number, and the newest order under it
//! owner                  the fleet and the history that deployed last: who, from where, when
//! tmp/                   what is not whole yet, or no longer
//! releases/DIGEST/       app/, secrets and definition (0600 both); there only when whole; proven: when a release was
//!                        deployed that has served on every replica since
//! slots/PORT/            instance: the record; env (0600), run, release; pid, ended, log, log.1 (process driver);
//!                        liveness, the script that asks, and liveness.failures (systemd driver);
//!                        hooks: the user's commands, and hooked: the points of its life that are passed
//! armed/PORT/            restore: the script that brings an instance back; due: when; what it needs for that
//! migrations/ID          by whom and when it was made: what is there is not made again
//! public.nft             the rules by which one of the slots has the public port (nftables)
//! left                   the slot whose last connections end with its instance (nftables)
//! unloaded               servers that nginx may still send requests to, because it was never seen to reload
//! ```
//!
//! What a host does by itself is a script that lies there, in the same manner, but reports to the
//! journal.
//!
//! All that act report the host's new state and end with a line `end=…`; [`read_reply`] reads that.
//! Without such a line nobody knows what was done.

mod address;
mod balancer;
mod check;
mod claim;
mod end;
pub mod env_file;
mod errand;
mod facts;
mod gatekeeper;
mod halt;
mod hooks;
mod launch;
mod liveness;
mod logs;
mod nftables;
mod nginx;
mod number;
mod observe;
mod probe;
mod prune;
pub mod quote;
mod releases;
mod reply;
mod report;
mod restore;
mod runs;
mod site;
mod stage;
mod start;
mod stop;
mod systemd;
mod unreadable;

pub use self::balancer::{SlotSwitch, read_view};
pub use self::check::{Needs, check, read_check};
pub use self::claim::claim;
pub use self::errand::{DoneMark, TaskCommand, TaskCommandEnd, errand, read_errand};
pub use self::gatekeeper::{BalancerCommands, look_at_gatekeepers, switch_gatekeeper};
pub use self::logs::{
    CapturedLog, Follow, LogLine, LogQuery, follow, log_driver, logs, read_log_line, read_log_tail,
};
pub use self::nftables::{look_at_nftables, switch_nftables};
pub use self::nginx::{Nginx, SlotAddress, look_at_nginx, switch_nginx};
pub use self::observe::observe;
pub use self::probe::{CommandProbe, CommandProbeResult, probe_command, read_answer};
pub use self::prune::prune;
pub use self::quote::quote;
pub use self::releases::{KeptRelease, read_releases, releases};
pub use self::reply::{Reply, read_reply};
pub use self::restore::disarm;
pub use self::site::{DEFAULT_BASE_DIR, HostContext, Input, Script};
pub use self::stage::{ArtifactInput, stage};
pub use self::start::start;
pub use self::stop::stop;
pub use crate::script::end::ScriptEnd;
pub use crate::script::facts::Facts;
pub use crate::script::halt::StopSpec;
pub use crate::script::launch::SlotHooks;
pub use crate::script::launch::StartSpec;
pub use crate::script::unreadable::Unreadable;
