//! `ship logs`: what the instances write, and what ship did in a rollout. It takes no lock and
//! changes nothing.

mod choice;
mod page;
mod request;
mod rollout;
mod services;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use self::request::LogRequest;
use super::args::{InventoryArg, LogsArgs};
use super::exit::{Exit, Fail};
use super::{moment, terminal};
use crate::app::environment::{Reading, StoreAccess};
use crate::app::session::Session;
use crate::config::Overrides;
use crate::engine::{Clock as _, SteadyClock};

pub(super) async fn run(args: LogsArgs) -> Result<Exit, Fail> {
    let (inventory, instances) = told_apart(args.what)?;
    let since = args
        .since
        .as_deref()
        .map(|text| moment::past("--since", text, SteadyClock.now(), &TimeZone::system()))
        .transpose()?;
    if args.rollout.is_some() && !instances.is_empty() {
        return Err(Fail::refused(
            "error: the log of a rollout is one of all instances; leave the instance out",
        ));
    }
    let env = terminal::quiet(InventoryArg { inventory });
    let overrides = Overrides::default();
    let session = Session::open(&env, &overrides, Reading::LastKnownGood, StoreAccess::Read)?;
    let wanted = LogRequest {
        follow: args.follow,
        since,
        lines: args.lines,
        output: args.output,
    };
    match args.rollout {
        Some(which) => rollout::show(&session, &which, &wanted).await,
        None => services::show(&session, &instances, &wanted).await,
    }
}

/// The inventory is a file, or has the name of one; everything else is an instance.
fn told_apart(what: Vec<String>) -> Result<(Option<PathBuf>, Vec<String>), Fail> {
    let is_inventory = |word: &String| {
        let path = Path::new(word);
        path.extension()
            .is_some_and(|extension| extension == "toml")
            || path.is_file()
    };
    let (inventories, instances): (Vec<_>, Vec<_>) = what.into_iter().partition(is_inventory);
    if inventories.len() > 1 {
        return Err(Fail::refused(format!(
            "error: one inventory at a time, not {}",
            inventories.join(" and ")
        )));
    }
    Ok((inventories.into_iter().next().map(PathBuf::from), instances))
}
