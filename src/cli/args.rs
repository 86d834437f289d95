//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::exit::Exit;
use crate::config;
use crate::report::ProgressFormat;

/// Rolling deploys for bare machines: what `kubectl rollout` gives a cluster, over plain SSH.
///
/// A new instance is started, its port is checked, and only then an old one is stopped; again and
/// again until the fleet runs the new version. If the new version fails, the old one is brought
/// back.
#[derive(Debug, Parser)]
#[command(
    name = "ship",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(after_help = exit_codes())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: VerbArgs,

    /// Say more on stderr; twice for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

fn exit_codes() -> String {
    let lines = Exit::ALL.map(|exit| format!("\n  {:>3}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:{}", lines.concat())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum VerbArgs {
    /// Write an inventory and a playbook to begin with
    Init(InitArgs),
    /// Bring the fleet to a version, one batch at a time
    Deploy(DeployArgs),
    /// Show what a deploy would do, and touch nothing
    Plan(PlanArgs),
    /// Check the files and every host, and say all problems at once
    Check(CheckArgs),
    /// Show what runs where
    Status(StatusArgs),
    /// Show what was deployed, by whom, when, why and how it ended
    History(HistoryArgs),
    /// Show what the instances write, or what ship did in a rollout
    Logs(LogsArgs),
    /// Go back to the newest revision proven healthy, or to a given one
    #[command(visible_alias = "undo")]
    Rollback(RollbackArgs),
    /// Let a running rollout start nothing new; what is in flight ends safely
    Pause(PauseArgs),
    /// Go on with a rollout that was paused, interrupted, cut off or held
    Resume(ResumeArgs),
    /// Let a rollout go on from the step at which it waits
    Promote(PromoteArgs),
    /// Go back to the revision proven healthy, from a rollout that runs or stands still
    Abort(AbortArgs),
    /// Replace every instance by a new one of the same release, one batch at a time
    Restart(RestartArgs),
    /// Change how many instances the service has
    Scale(ScaleArgs),
    /// Write a page about a rollout: what happened, host by host, and how to undo it
    Report(ReportArgs),
    /// Take away what only older versions needed: the playbook's contracts that are left to be made
    Migrate(MigrateArgs),
    /// Let nothing new be deployed for a while, and a running deploy stop once what it has begun is
    /// done
    Freeze(FreezeArgs),
    /// End a freeze
    #[command(visible_alias = "unfreeze")]
    Thaw(ThawArgs),
    /// Take the lock away from a ship that holds it, and make the hosts refuse its orders
    Unlock(UnlockArgs),
    /// Print what makes cron or systemd deploy every night
    Cron(CronArgs),
    /// Print a completion script for a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    Man,
}

/// The inventory, of every verb that needs one.
#[derive(Clone, Debug, Args)]
pub struct InventoryArg {
    /// The inventory file; left out, the one that was deployed from here (as git finds its
    /// repository)
    #[arg(value_name = "INVENTORY")]
    pub inventory: Option<PathBuf>,
}

/// What may be given instead of what the playbook says.
#[derive(Debug, Args)]
pub struct OverrideArgs {
    /// The version or channel to deploy, instead of the playbook's
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Set one of the playbook's keys, as in `rollout.max_surge=2`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Who asks the service meanwhile, of every verb that carries out a rollout.
#[derive(Clone, Debug, Args)]
pub struct MonitorArg {
    /// Ask this URL all the while, and fail if a request does; `off` for the playbook's `[monitor]`
    #[arg(long, value_name = "URL")]
    pub monitor: Option<String>,
}

impl MonitorArg {
    /// The same as settings of the playbook, after those given.
    pub fn after(self, mut set: Vec<String>) -> Vec<String> {
        set.extend(self.monitor.map(|url| format!("monitor.url={url}")));
        set
    }
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug, Args)]
pub struct LockArg {
    /// Wait this long for another deploy to finish, for example 10m
    #[arg(long, value_name = "TIME", value_parser = config::parse_duration, default_value = "0s", hide_default_value = true)]
    pub lock_timeout: Duration,
}

/// Why a verb is run.
#[derive(Clone, Debug, Args)]
pub struct ReasonArg {
    /// Record why in the history
    #[arg(long, alias = "cause", value_name = "TEXT")]
    pub reason: Option<String>,
}

/// The form of what a verb prints.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArg {
    /// Print text for people or JSON for programs
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// How a rollout is shown.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DisplayArgs {
    /// Print nothing to stdout, or one JSON event a line
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
    /// Show progress on stderr [default: auto, or none with --output json]
    #[arg(long, value_enum)]
    pub progress: Option<ProgressFormat>,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
}

#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Show what would be done, and touch nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub reason: ReasonArg,
    /// Nobody is there to be asked: what has failed before is skipped, an unhealthy fleet is left
    /// alone, one instance comes first, windows are kept; a step that waits for a person ends the
    /// command with exit 8, or is passed, as the playbook's `[unattended]` says
    #[arg(long)]
    pub unattended: bool,
    #[command(flatten)]
    pub lock: LockArg,
    /// Go ahead though the fleet is frozen, no window is open, the release has failed before, or
    /// the fleet is not healthy
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub monitor: MonitorArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Show it again every second, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Show one revision: all of it, and what differs from now
    #[arg(long, value_name = "N")]
    pub revision: Option<u32>,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The inventory (a file), and of which instances: by name or how it begins, by HOST or by
    /// HOST:PORT; left out, all
    #[arg(value_name = "INVENTORY|INSTANCE")]
    pub what: Vec<String>,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Nothing from before: `10m` ago, `02:00`, `2026-11-25T02:00`
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// No more than the last lines of each instance (100; 10000 with --since)
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<u32>,
    /// Instead of the instances' logs that of a rollout: its number, or `last`
    #[arg(long, value_name = "ROLLOUT")]
    pub rollout: Option<String>,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// The revision to go to; left out, the newest one proven healthy that is not the present one
    #[arg(long, value_name = "N")]
    pub to_revision: Option<u32>,
    /// Print the plan and exit
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub lock: LockArg,
    /// Set one of the playbook's `rollout` keys, as in `rollout.max_surge=2`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub reason: ReasonArg,
    #[command(flatten)]
    pub monitor: MonitorArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct PauseArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Set one of the playbook's `rollout` keys, besides those that the rollout was begun with; may
    /// be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Nobody is there to be asked: a step that waits for a person ends the command with exit 8, or
    /// is passed, as the playbook's `[unattended]` says
    #[arg(long)]
    pub unattended: bool,
    #[command(flatten)]
    pub monitor: MonitorArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct PromoteArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Through all steps that are left, without soaking or asking again
    #[arg(long)]
    pub full: bool,
    /// Set one of the playbook's `rollout` keys, besides those that the rollout was begun with; may
    /// be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub monitor: MonitorArg,
    /// Nobody is there to be asked: a step that waits for a person ends the command with exit 8, or
    /// is passed, as the playbook's `[unattended]` says
    #[arg(long)]
    pub unattended: bool,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct AbortArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Set one of the playbook's `rollout` keys, besides those that the rollout was begun with; may
    /// be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct RestartArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Set one of the playbook's `rollout` keys, as in `rollout.max_surge=2`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub reason: ReasonArg,
    #[command(flatten)]
    pub monitor: MonitorArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct ScaleArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// How many; it holds until the playbook's `replicas` is changed
    #[arg(long, value_name = "N")]
    pub replicas: u32,
    /// Set one of the playbook's `rollout` keys, as in `rollout.max_surge=2`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Set one of the playbook's `rollout` keys, as in `rollout.max_surge=2`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub reason: ReasonArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct FreezeArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Until when, as in `2026-12-01`, `2026-12-01T08:00`, `08:00` or `3d`; left out, until `ship
    /// thaw`
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    #[command(flatten)]
    pub reason: ReasonArg,
}

#[derive(Debug, Args)]
pub struct ThawArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// The rollout: its number, or `last`
    #[arg(long, value_name = "N|last", default_value = "last")]
    pub rollout: String,
    /// Write the page to FILE, `-` for stdout [default: .ship/runs/N.html]
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct UnlockArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct CronArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// The time of day, by the clock of this machine
    #[arg(long, value_name = "HH:MM", default_value = "02:00")]
    pub at: String,
    /// The version or the channel to deploy, instead of the playbook's version
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Who is sent what was said: by cron every time, by systemd when it failed
    #[arg(long, value_name = "ADDRESS")]
    pub mail: Option<String>,
    /// Only the lines for a crontab
    #[arg(long, conflicts_with = "systemd")]
    pub crontab: bool,
    /// Only the units for systemd
    #[arg(long)]
    pub systemd: bool,
}

/// The form of what a verb prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}
