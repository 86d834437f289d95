//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::shared_args::{
    DisplayArgs, HostsFormat, InventoryArg, LockArg, MonitorArg, OutputArg, OverrideArgs, ReasonArg,
};
use crate::app::exit::Exit;

/// Examples below the help of a verb.
macro_rules! examples {
    ($($command:literal),+ $(,)?) => {
        concat!("Examples:", $("\n  ", $command),+)
    };
}

/// Rolling deploys for bare VMs: what `kubectl rollout` gives a cluster, over plain SSH
///
/// ship starts a new instance, waits until it is ready, then stops an old one, until the whole
/// fleet runs the new version. If the new version fails, ship rolls back.
#[derive(Debug, Parser)]
#[command(
    name = "ship",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(after_help = exit_codes())]
pub struct Cli {
    #[command(subcommand)]
    pub verb: VerbArgs,

    /// Increase log verbosity (repeat for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

fn exit_codes() -> String {
    let lines = Exit::ALL.map(|exit| format!("\n  {:>3}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:{}", lines.concat())
}

#[derive(Clone, Debug, Subcommand)]
pub enum VerbArgs {
    /// Write an example inventory and playbook
    Init(InitArgs),
    /// Write an inventory and a playbook from a systemd unit that runs
    Adopt(AdoptArgs),
    /// Roll out a version across the fleet, one batch at a time
    Deploy(DeployArgs),
    /// Show what a deploy would do, without making changes
    Plan(PlanArgs),
    /// Validate the configuration and check every host
    Check(CheckArgs),
    /// Show which version runs on which host, and the state of the rollout
    Status(StatusArgs),
    /// List the revisions: who deployed what, when, why, and the outcome
    History(HistoryArgs),
    /// Print the logs of instances or of a rollout
    Logs(LogsArgs),
    /// Roll back to the latest proven revision, or to a given one
    #[command(visible_alias = "undo")]
    Rollback(RollbackArgs),
    /// Pause a running rollout after in-flight actions finish
    Pause(PauseArgs),
    /// Resume a stopped rollout
    Resume(ResumeArgs),
    /// Continue a rollout that is waiting at a step
    Promote(PromoteArgs),
    /// Abort the current rollout and roll back
    Abort(AbortArgs),
    /// Replace every instance with a new one of the same release, one batch at a time
    Restart(RestartArgs),
    /// Change the number of instances
    Scale(ScaleArgs),
    /// Write an HTML report about a rollout, or about a deployment of a stack
    Report(ReportArgs),
    /// Run the pending contract migrations
    Migrate(MigrateArgs),
    /// Block new deploys; a running deploy stops after the current batch
    Freeze(FreezeArgs),
    /// End a freeze
    #[command(visible_alias = "unfreeze")]
    Thaw(ThawArgs),
    /// Break the deploy lock and fence off its holder
    Unlock(UnlockArgs),
    /// Show where the state is, or move it to a database that several operators share
    State(StateArgs),
    /// Close the connections that are kept for the next command
    Disconnect(DisconnectArgs),
    /// List the hosts, also those that the command of `[hosts_from]` prints
    Inventory(InventoryArgs),
    /// Print a crontab line and systemd units for nightly deploys
    Cron(CronArgs),
    /// Print a shell completion script
    #[command(after_help = examples!["ship completions bash > /etc/bash_completion.d/ship"])]
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff format
    #[command(after_help = examples!["ship man > /usr/local/share/man/man1/ship.1"])]
    Man,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship init", "ship init --stack", "ship init staging/inventory.toml"])]
pub struct InitArgs {
    /// Inventory file to write [default: inventory.toml]
    #[arg(value_name = "INVENTORY")]
    pub inventory: Option<PathBuf>,
    /// Write a stack: several services that are released together
    #[arg(long)]
    pub stack: bool,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship adopt redis-server",
    "ship adopt api.service api/inventory.toml --host web1 --host web2 --sudo",
])]
pub struct AdoptArgs {
    /// Unit to read, for example redis-server; nothing is changed on its hosts
    #[arg(value_name = "UNIT")]
    pub unit: String,
    /// Inventory file to write, with playbook.toml beside it [default: inventory.toml]
    #[arg(value_name = "INVENTORY")]
    pub inventory: Option<PathBuf>,
    /// Host on which the unit runs, reached over SSH; repeatable [default: this machine]
    #[arg(long, value_name = "[USER@]ADDRESS")]
    pub host: Vec<String>,
    /// Read the unit with `sudo -n`, which shows the ports of processes of other users
    #[arg(long)]
    pub sudo: bool,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship deploy inventory.toml --version 0.9 --reason \"ticket 4711\"",
    "ship deploy --dry-run",
    "ship deploy --set rollout.max_surge=2 --monitor http://example.org/",
    "ship deploy --service api --service worker --version api=0.9",
])]
pub struct DeployArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Print the plan and exit
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub reason: ReasonArg,
    /// Run without prompts: skip quarantined releases, refuse unhealthy fleets, roll out one
    /// instance first, respect deploy windows; at a pausing step, exit 8 unless `[unattended]
    /// on_gate = "promote"`
    #[arg(long)]
    pub unattended: bool,
    #[command(flatten)]
    pub lock: LockArg,
    /// Deploy although the fleet is frozen, no window is open, the release is quarantined, or the
    /// fleet is unhealthy
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub monitor: MonitorArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship plan --version 0.9",
    "ship plan inventory.toml --output json",
])]
pub struct PlanArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship check inventory.toml", "ship check --version 0.9"])]
pub struct CheckArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship status --watch",
    "ship status inventory.toml --output json",
])]
pub struct StatusArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Refresh every second until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship history", "ship history --revision 7"])]
pub struct HistoryArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Show one revision in full and compare it with the current one
    #[arg(long, value_name = "N")]
    pub revision: Option<u32>,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship logs web1:8081 --follow",
    "ship logs --since 10m",
    "ship logs --rollout last",
])]
pub struct LogsArgs {
    /// Inventory file, and instances by name, name prefix, HOST or HOST:SLOT [default: all]
    #[arg(value_name = "INVENTORY|INSTANCE")]
    pub what: Vec<String>,
    /// Service of a stack
    #[arg(long = "service", value_name = "NAME")]
    pub services: Vec<String>,
    /// Print new lines as they are written, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Print lines from this time on: 10m (ago), 02:00 or 2026-11-25T02:00
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Print at most the last N lines of each instance [default: 100, or 10000 with --since]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<u32>,
    /// Print the log of this rollout instead of the instances' logs
    #[arg(long, value_name = "N|last")]
    pub rollout: Option<String>,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship rollback",
    "ship rollback --to-revision 6 --reason \"slow checkout\"",
    "ship rollback --dry-run",
])]
pub struct RollbackArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Revision to roll back to [default: the latest proven one of another release]
    #[arg(long, value_name = "N")]
    pub to_revision: Option<u32>,
    /// Deployment of a stack to roll back to [default: the one before the last]
    #[arg(long, value_name = "N", conflicts_with = "to_revision")]
    pub to_deployment: Option<u32>,
    /// Print the plan and exit
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub lock: LockArg,
    /// Override a key of `[rollout]`, for example `rollout.max_surge=2`; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub reason: ReasonArg,
    #[command(flatten)]
    pub monitor: MonitorArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship pause", "ship pause inventory.toml"])]
pub struct PauseArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship resume", "ship resume --set rollout.max_surge=2", "ship resume --lock-timeout 1m"])]
pub struct ResumeArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Override a key of `[rollout]`, in addition to the overrides of the rollout; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run without prompts; at a pausing step, exit 8 unless `[unattended] on_gate = "promote"`
    #[arg(long)]
    pub unattended: bool,
    #[command(flatten)]
    pub monitor: MonitorArg,
    #[command(flatten)]
    pub lock: LockArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship promote", "ship promote --full"])]
pub struct PromoteArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Skip all remaining steps, without soaking or waiting again
    #[arg(long)]
    pub full: bool,
    /// Override a key of `[rollout]`, in addition to the overrides of the rollout; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub monitor: MonitorArg,
    /// Run without prompts; at a pausing step, exit 8 unless `[unattended] on_gate = "promote"`
    #[arg(long)]
    pub unattended: bool,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship abort", "ship abort inventory.toml"])]
pub struct AbortArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Override a key of `[rollout]`, in addition to the overrides of the rollout; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship restart", "ship restart --reason \"new certificates\""])]
pub struct RestartArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Override a key of `[rollout]`, for example `rollout.max_surge=2`; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub reason: ReasonArg,
    #[command(flatten)]
    pub monitor: MonitorArg,
    #[command(flatten)]
    pub lock: LockArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship scale --replicas 6",
    "ship scale inventory.toml --replicas 6 --set rollout.max_surge=2",
])]
pub struct ScaleArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Number of instances; applies until `replicas` in the playbook changes
    #[arg(long, value_name = "N")]
    pub replicas: u32,
    /// Override a key of `[rollout]`, for example `rollout.max_surge=2`; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub lock: LockArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship migrate",
    "ship migrate --reason \"0.8 is no longer needed\"",
])]
pub struct MigrateArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Override a key of `[rollout]`, for example `rollout.max_surge=2`; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub reason: ReasonArg,
    #[command(flatten)]
    pub lock: LockArg,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship freeze --reason \"launch day\" --until 08:00",
    "ship freeze --until 3d",
])]
pub struct FreezeArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// End of the freeze: 3d, 08:00, 2026-12-01 or 2026-12-01T08:00 [default: until `ship thaw`]
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    #[command(flatten)]
    pub reason: ReasonArg,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship thaw", "ship thaw inventory.toml"])]
pub struct ThawArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship report",
    "ship report --rollout 7 --output-file rollout-7.html",
    "ship report --deployment 2",
])]
pub struct ReportArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Rollout of one service to report on [default: last]
    #[arg(long, value_name = "N|last")]
    pub rollout: Option<String>,
    /// Deployment of a stack to report on [default: the last]
    #[arg(long, value_name = "N", conflicts_with_all = ["rollout", "services"])]
    pub deployment: Option<u32>,
    /// Write the report to FILE; - for stdout [default: .ship/runs/N.html, or
    /// .ship/runs/FLEET-deployment-N.html for a deployment]
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship unlock", "ship unlock --yes"])]
pub struct UnlockArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship disconnect inventory.toml"])]
pub struct DisconnectArgs {
    /// Inventory file [default: the one last deployed from this directory or a parent]
    #[arg(value_name = "INVENTORY")]
    pub inventory: Option<PathBuf>,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship state show",
    "ship state move postgres://ship@db.internal/ship",
])]
pub struct StateArgs {
    #[command(subcommand)]
    pub verb: StateVerb,
}

#[derive(Clone, Debug, Subcommand)]
pub enum StateVerb {
    /// Show where the state is, since when, its size, and who holds the lock
    Show(StateShowArgs),
    /// Copy the state to another place, verify the copy, and continue there
    Move(StateMoveArgs),
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship state show", "ship state show inventory.toml"])]
pub struct StateShowArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship state move postgres://ship@db.internal/ship",
    "ship state move etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/ship",
    "ship state move local",
])]
pub struct StateMoveArgs {
    /// URL of the database, without a password; `local` for the state directory
    #[arg(value_name = "URL|local")]
    pub destination: String,
    #[command(flatten)]
    pub inventory: InventoryArg,
    #[command(flatten)]
    pub lock: LockArg,
    #[command(flatten)]
    pub output: OutputArg,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples!["ship inventory", "ship inventory --output toml"])]
pub struct InventoryArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Output format; json is a list of hosts, toml is tables for an inventory
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "text|json|toml",
        hide_possible_values = true
    )]
    pub output: HostsFormat,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = examples![
    "ship cron --at 02:00 --crontab",
    "ship cron --systemd --mail ops@example.org",
])]
pub struct CronArgs {
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// Time of day, in the time zone of this machine
    #[arg(long, value_name = "HH:MM", default_value = "02:00")]
    pub at: String,
    /// Version or channel to deploy [default: the playbook's]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Mail the output to ADDRESS: after every run with cron, after failures with systemd
    #[arg(long, value_name = "ADDRESS")]
    pub mail: Option<String>,
    /// Print only the crontab line
    #[arg(long, conflicts_with = "systemd")]
    pub crontab: bool,
    /// Print only the systemd units
    #[arg(long)]
    pub systemd: bool,
}
