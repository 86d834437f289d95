//! Floor 1: builds POSIX sh scripts for actions, and parses their output. Nothing is run here.
//!
//! A script consists of assignments, each value through [`quote()`], and the constant texts in
//! `sh/`. A shell on the host reads it from standard input, followed by the [`Input`] of the
//! script. The script may end before it has read all of its input, so a broken pipe while sending
//! is not an error. `base_dir/SERVICE` contains:
//!
//! ```text
//! unread                 a mark: units have changed, and systemd may not have reloaded them yet (systemd driver)
//! lock, epoch            the lock of the service; the newest epoch, and the newest action in it
//! owner                  the fleet and the history of the last deploy: who, from where, when
//! tmp/                   incomplete files
//! relay/NAME/            the files that other hosts receive from this one while a rollout runs, by their digest
//! releases/DIGEST/       a complete release: app/, secrets and definition (both 0600); files: the names of its files;
//!                        proven: the time of its deploy, if it has become available on every replica
//! current                the link to the files of a release (link driver)
//! slots/PORT/            instance: the record; env (0600), run, release; pid, ended, log, log.1 (process driver);
//!                        liveness: the probe script, and liveness.failures (systemd driver);
//!                        hooks: the user's commands, and hooked: the points whose hooks have run
//! armed/PORT/            the dead-man switch: restore: the script; due: the time; the files that the script needs
//! migrations/ID          by whom and when the migration was run; it does not run again
//! public.nft             the rules that forward the public port to a slot (nftables)
//! left                   the slot whose remaining connections end with its instance (nftables)
//! unloaded               servers to which nginx may still send requests, because its reload was not confirmed
//! ```
//!
//! Scripts that a host runs on its own are built in the same way, but stored on the host, and they
//! report to the journal.
//!
//! All scripts that change something report the host's new state and end with a line `end=…`, which
//! [`read_reply`] parses. Without that line, the effect of a script is unknown.

mod address;
mod balancer;
mod check;
mod claim;
mod command_balancer;
mod end;
pub mod env_file;
mod existing_unit;
mod facts;
mod hooks;
mod host_context;
mod liveness;
mod logs;
mod nftables;
mod nginx;
mod observe;
mod pack;
mod probe;
mod prune;
pub mod quote;
mod relay;
mod releases;
mod reply;
mod report;
mod restore;
mod runs;
mod stage;
mod start;
mod start_spec;
mod stop;
mod stop_spec;
mod systemd;
mod task;
mod unreadable;
mod values;
mod zstd;

pub use self::balancer::{SlotSwitch, read_balancer_report};
pub use self::check::{Needs, ReleaseSender, check, read_check};
pub use self::claim::claim;
pub use self::command_balancer::{
    BalancerCommands, observe_command_balancer, switch_command_balancer,
};
pub use self::existing_unit::{existing_unit, read_existing_unit};
pub use self::host_context::{DEFAULT_BASE_DIR, HostContext, Input, Script, service_dir};
pub use self::logs::{
    CapturedLog, Follow, LogLine, LogQuery, LogRange, follow, log_driver, logs, read_log_line,
    read_log_tail,
};
pub use self::nftables::{observe_nftables, switch_nftables};
pub use self::nginx::{Nginx, SlotAddress, observe_nginx, switch_nginx};
pub use self::observe::observe;
pub use self::pack::pack;
pub use self::probe::{CommandProbe, CommandProbeResult, probe_command, read_probe_result};
pub use self::prune::prune;
pub use self::quote::quote;
pub use self::relay::{RelayServer, RelayedFrom, read_serving, relay_dir, serve};
pub use self::releases::{KeptRelease, read_releases, releases};
pub use self::reply::{Reply, read_reply};
pub use self::restore::disarm;
pub use self::stage::{ArtifactInput, HeldRelease, PatchFile, StageInput, stage};
pub use self::start::start;
pub use self::stop::stop;
pub use self::systemd::unit;
pub use self::task::{DoneMark, TaskCommand, TaskCommandEnd, read_task, task};
pub use self::zstd::finds_zstd;
pub use crate::script::end::ScriptEnd;
pub use crate::script::facts::Facts;
pub use crate::script::start_spec::SlotHooks;
pub use crate::script::start_spec::StartSpec;
pub use crate::script::stop_spec::StopSpec;
pub use crate::script::unreadable::Unreadable;
