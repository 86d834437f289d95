//! `ship freeze` and `ship thaw`: for a while nothing new is deployed.

use jiff::tz::TimeZone;

use super::args::{FreezeArgs, ThawArgs};
use super::exit::{CliError, Exit};
use super::output::print;
use super::{moment, terminal};
use crate::app::verbs::freeze::{Frozen, freeze, thaw as end_freeze};

pub(super) fn run(args: FreezeArgs) -> Result<Exit, CliError> {
    let env = terminal::quiet(args.inventory);
    let now = env.clock().now();
    let until = args
        .until
        .map(|text| moment::future("--until", &text, now, &TimeZone::system()))
        .transpose()?;
    let Frozen {
        service,
        freeze,
        stops_rollout,
    } = freeze(&env, until, args.reason.reason.unwrap_or_default())?;
    let mut said = format!("deployment \"{service}\" frozen by {freeze}; `ship thaw` ends it\n");
    if stops_rollout {
        said.push_str(
            "a deploy that is under way ends what it has begun, and stops; `ship status` shows \
             it\n",
        );
    }
    print(&said)
}

pub(super) fn thaw(args: ThawArgs) -> Result<Exit, CliError> {
    let (service, was_frozen) = end_freeze(&terminal::quiet(args.inventory))?;
    print(&if was_frozen {
        format!("deployment \"{service}\" thawed\n")
    } else {
        format!("deployment \"{service}\" was not frozen\n")
    })
}
