//! `ship deploy`: bring the fleet to a version.

use super::args::{Deploy, Form};
use super::exit::{Exit, Fail};
use super::releases::Release;
use super::rollout::{self, Goal};
use super::session::Session;
use super::{args, channels, plan};
use crate::config::Overrides;
use crate::core::event::Verb;
use crate::core::standing::Ask;
use crate::report::Output;

pub(super) async fn run(args: Deploy) -> Result<Exit, Fail> {
    let set = args.probe.after(args.overrides.set);
    if args.dry_run {
        let output = if args.output == Output::Json { Form::Json } else { Form::Text };
        let overrides = args::Overrides { version: args.overrides.version, set };
        return plan::run(args::Plan { inventory: args.inventory, overrides, output }).await;
    }
    let resolved = channels::resolve(&args.inventory, Overrides { version: args.overrides.version, set }).await?;
    let mut session = Session::open(args.inventory, &resolved.overrides)?;
    let release = Release::prepare(&session).await?;
    session.lock(&format!("deploy {}", release.definition.version))?;
    session.permit(Ask::Deploy)?;
    session.is_unattended(args.unattended);
    let goal = goal(&session, release, args.cause.or_else(|| resolved.cause()));
    Ok(rollout::carry_out(session, goal, args.output).await?.exit(Verb::Deploy))
}

/// The goal of a deploy of a release.
pub(super) fn goal(session: &Session, release: Release, cause: Option<String>) -> Goal {
    let playbook = std::fs::read_to_string(&session.project.playbook.path).unwrap_or_default();
    let cause = cause.unwrap_or_else(|| format!("deploy {}", release.definition.version));
    Goal { release, verb: Verb::Deploy, cause, playbook, earlier: None }
}
