//! `ship logs`: prints the logs of instances or of a rollout.

mod instances;
mod output;
mod rollout;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use self::instances::InstancePrinter;
use self::rollout::RolloutPrinter;
use super::args::LogsArgs;
use super::exit::{CliError, Exit};
use super::shared_args::InventoryArg;
use super::{parse_time, terminal};
use crate::app::verbs::logs::instances::InstanceLogs;
use crate::app::verbs::logs::request::LogRequest;
use crate::app::verbs::logs::rollout::RolloutLogFile;

pub(super) async fn run(args: LogsArgs) -> Result<Exit, CliError> {
    let (inventory, instances) = split_arguments(args.what)?;
    let env = terminal::quiet(InventoryArg {
        inventory,
        services: args.services,
    });
    let now = env.clock().now();
    let since = args
        .since
        .as_deref()
        .map(|text| parse_time::parse_past("--since", text, now, &TimeZone::system()))
        .transpose()?;
    let request = LogRequest {
        follow: args.follow,
        since,
        lines: args.lines,
    };
    if let Some(which) = args.rollout {
        if !instances.is_empty() {
            return Err(CliError::refused(
                "error: --rollout cannot be combined with instances\nhint: the log of a rollout \
                 covers all instances; leave the instance out",
            ));
        }
        let log = RolloutLogFile::open(&env, &which, request)?;
        log.show(&RolloutPrinter::new(args.output.output)).await?;
    } else {
        let logs = InstanceLogs::open(&env, &instances, request).await?;
        let printer = InstancePrinter::new(args.output.output, &logs);
        logs.show(&printer).await?;
    }
    Ok(Exit::Done)
}

/// The inventory among the arguments, and the service.
pub(super) fn inventory_arg(args: &LogsArgs) -> InventoryArg {
    let inventory = split_arguments(args.what.clone()).ok();
    InventoryArg {
        inventory: inventory.and_then(|(inventory, _)| inventory),
        services: args.services.clone(),
    }
}

/// Separates the inventory, which is a file or is named like one, from the instances.
fn split_arguments(what: Vec<String>) -> Result<(Option<PathBuf>, Vec<String>), CliError> {
    let is_inventory = |word: &String| {
        let path = Path::new(word);
        path.extension()
            .is_some_and(|extension| extension == "toml")
            || path.is_file()
    };
    let (inventories, instances): (Vec<_>, Vec<_>) = what.into_iter().partition(is_inventory);
    if inventories.len() > 1 {
        return Err(CliError::refused(format!(
            "error: expected one inventory, found {}: `{}`",
            inventories.len(),
            inventories.join("`, `")
        )));
    }
    Ok((inventories.into_iter().next().map(PathBuf::from), instances))
}
