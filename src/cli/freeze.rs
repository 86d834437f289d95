//! `ship freeze` and `ship thaw`: block new deploys, and permit them again.

use jiff::tz::TimeZone;
use serde_json::json;

use super::args::{FreezeArgs, ThawArgs};
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::OutputFormat;
use super::{parse_time, terminal};
use crate::app::verbs::freeze::{Frozen, freeze, thaw as end_freeze};
use crate::report::clock::rfc3339;

pub(super) fn run(args: FreezeArgs) -> Result<Exit, CliError> {
    let env = terminal::quiet(args.inventory);
    let until = |now| {
        let text = args.until.as_deref();
        text.map(|text| parse_time::parse_future("--until", text, now, &TimeZone::system()))
            .transpose()
    };
    // Reject what is invalid before the state is opened.
    until(env.clock().now())?;
    let frozen = freeze(&env, until, args.reason.reason.unwrap_or_default())?;
    print(&match args.output.output {
        OutputFormat::Json => format!("{}\n", object(&frozen)),
        OutputFormat::Text => text(&frozen),
    })
}

fn object(frozen: &Frozen) -> serde_json::Value {
    let freeze = &frozen.freeze;
    json!({
        "service": frozen.service_key.service,
        "fleet": frozen.service_key.fleet,
        "frozen": true,
        "by": freeze.who,
        "since": rfc3339(freeze.since),
        "until": freeze.until.map(rfc3339),
        "reason": Some(&freeze.why).filter(|reason| !reason.is_empty()),
        "stops_rollout": frozen.stops_rollout,
    })
}

fn text(frozen: &Frozen) -> String {
    let service = &frozen.service_key.service;
    let mut text = format!("service `{service}` frozen by {}\n", frozen.freeze);
    if frozen.stops_rollout {
        text.push_str("the running deploy stops after the current batch\n");
    }
    text.push_str("hint: `ship thaw` ends the freeze\n");
    text
}

pub(super) fn thaw(args: ThawArgs) -> Result<Exit, CliError> {
    let (key, was_frozen) = end_freeze(&terminal::quiet(args.inventory))?;
    print(&match args.output.output {
        OutputFormat::Json => format!(
            "{}\n",
            json!({
                "service": key.service,
                "fleet": key.fleet,
                "frozen": false,
                "was_frozen": was_frozen,
            })
        ),
        OutputFormat::Text if was_frozen => format!("service `{}` thawed\n", key.service),
        OutputFormat::Text => format!("service `{}` was not frozen\n", key.service),
    })
}
