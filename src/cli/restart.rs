//! `ship restart`: new instances of the same release, one batch at a time.

use super::args::Restart;
use super::exit::{Exit, Fail};
use super::releases::Release;
use super::rollout::{self, Goal};
use super::session::Session;
use crate::config::Overrides;
use crate::core::policy::service_state::Ask;
use crate::core::rollout::verb::Verb;

pub(super) async fn run(args: Restart) -> Result<Exit, Fail> {
    let overrides = Overrides {
        version: None,
        set: args.probe.after(args.set),
    };
    let mut session = Session::open(args.inventory, &overrides)?;
    session.lock("restart")?;
    session.go_by_hosts().await?;
    session.permit(Ask::Restart)?;
    session.want_as_many()?;
    let current = session.current_record()?.clone();
    let release = Release::of_history(&session, &current.release, &current.definition);
    let cause = args
        .cause
        .unwrap_or_else(|| format!("restart of revision {}", current.revision));
    let announcement = Some(format!(
        "deployment \"{}\" restarted",
        session.subject.service
    ));
    let goal = Goal {
        release,
        verb: Verb::Restart,
        cause,
        playbook: current.playbook,
        earlier: None,
        announcement,
    };
    Ok(rollout::carry_out(session, goal, args.output)
        .await?
        .exit(Verb::Restart))
}
