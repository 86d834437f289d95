//! `ship deploy`: bring the fleet to a version.

use super::aftermath::{self, Told};
use super::args::{Deploy, Form, InventoryArg};
use super::exit::{Exit, Fail};
use super::releases::Release;
use super::rollout::{self, Ended, GoOn, Goal};
use super::session::{Attendance, Session};
use super::{args, channels, night, note, plan, print, resume, rollback};
use crate::config::Overrides;
use crate::core::policy::service_state::Ask;
use crate::core::policy::unattended::Resolution;
use crate::core::rollout::verb::Verb;
use crate::report::Output;

/// What a deploy came to.
enum Run {
    /// A rollout has ended, and was told of.
    Ended(Exit),
    /// Nothing was done, and that is all right.
    Skipped {
        /// The version that it was about.
        version: String,
        /// Why.
        why: String,
    },
}

pub(super) async fn run(args: Deploy) -> Result<Exit, Fail> {
    let set = args.probe.clone().after(args.overrides.set.clone());
    if args.dry_run {
        let output = if args.output == Output::Json {
            Form::Json
        } else {
            Form::Text
        };
        let overrides = args::Overrides {
            version: args.overrides.version,
            set,
        };
        return plan::run(args::Plan {
            inventory: args.inventory,
            overrides,
            output,
        })
        .await;
    }
    let overrides = Overrides {
        version: args.overrides.version.clone(),
        set,
    };
    let (inventory, unattended) = (args.inventory.clone(), args.unattended);
    let run = Box::pin(deploy(args, overrides.clone())).await;
    if unattended {
        Box::pin(tell(inventory, &overrides, &run)).await;
    }
    Ok(match run? {
        Run::Ended(exit) => exit,
        Run::Skipped { .. } => Exit::Done,
    })
}

async fn deploy(args: Deploy, overrides: Overrides) -> Result<Run, Fail> {
    let resolved = channels::resolve(&args.inventory, overrides).await?;
    let mut session = Session::open(args.inventory, &resolved.overrides)?;
    session.attendance = Attendance {
        unattended: args.unattended,
        force: args.force,
    };
    night::permit_now(&session)?;
    let release = Release::prepare(&session).await?;
    let version = release.definition.version.clone();
    session
        .lock_within(&format!("deploy {version}"), args.lock.lock_timeout)
        .await?;
    session.go_by_hosts().await?;
    let standing = session.permit(Ask::Deploy)?;
    refuse_past_contract(&session, &release)?;
    let resolution = if args.unattended {
        night::resolve(&session, standing, &release.id)?
    } else {
        Resolution::Go
    };
    let then = match resolution {
        Resolution::Go => {
            let goal = goal(&session, release, args.cause.or_else(|| resolved.cause()));
            return Ok(
                match rollout::carry_out(session, goal, args.output).await? {
                    Ended::NothingToDo => Run::Skipped {
                        version,
                        why: "it is what runs".to_owned(),
                    },
                    ended @ Ended::As(_) => Run::Ended(ended.exit(Verb::Deploy)),
                },
            );
        }
        Resolution::Skip { why } => {
            say_skipped(&session, &version, &why, args.output);
            session.store.release_lease()?;
            return Ok(Run::Skipped { version, why });
        }
        Resolution::Refuse { why } => return Err(Fail::refused(format!("error: {why}"))),
        Resolution::GoOnBack => GoOn::Onward,
        Resolution::Abort => {
            GoOn::Back("the playbook's [unattended] interrupted = \"abort\"".to_owned())
        }
    };
    let unfinished = session
        .newest_rollout()?
        .ok_or_else(Session::nothing_deployed)?;
    note(&format!(
        "the {} of {} was left unfinished, and goes back",
        unfinished.verb.noun(),
        unfinished.goal.version
    ));
    let goal = resume::goal(&session, unfinished, then)?;
    let verb = goal.verb;
    Ok(Run::Ended(
        rollout::carry_out(session, goal, args.output)
            .await?
            .exit(verb),
    ))
}

fn say_skipped(session: &Session, version: &str, why: &str, output: Output) {
    if output == Output::Json {
        let (at, service, fleet) = (
            session.now(),
            &session.subject.service,
            &session.subject.fleet,
        );
        let event = serde_json::json!({
            "event": "skipped", "at": at, "service": service, "fleet": fleet, "version": version, "why": why,
        });
        drop(print(&format!("{event}\n")));
    } else {
        note(&format!("skipped: {why}"));
    }
}

/// Tells who was not there of a run that made no rollout. Where the files are wrong, nobody knows
/// whom to tell.
async fn tell(inventory: InventoryArg, overrides: &Overrides, run: &Result<Run, Fail>) {
    let told = match run {
        Ok(Run::Ended(_)) => return,
        Ok(Run::Skipped { version, why }) => Told::Skipped {
            version,
            exit: Exit::Done,
            why: why.clone(),
        },
        Err(fail) => Told::Refused {
            version: None,
            exit: fail.exit,
            message: &fail.message,
        },
    };
    if let Ok(session) = Session::open(inventory, overrides) {
        aftermath::tell(&session, told).await;
    }
}

/// An older release is no way around a contract either.
fn refuse_past_contract(session: &Session, release: &Release) -> Result<(), Fail> {
    let known = session
        .revisions
        .iter()
        .rev()
        .find(|record| record.release == release.id);
    let refused = known.filter(|_| !session.attendance.force);
    refused.map_or(Ok(()), |record| {
        rollback::refuse_past_contract(session, record)
    })
}

/// The goal of a deploy of a release.
pub(super) fn goal(session: &Session, release: Release, cause: Option<String>) -> Goal {
    let playbook = std::fs::read_to_string(&session.project.playbook.path).unwrap_or_default();
    let cause = cause.unwrap_or_else(|| format!("deploy {}", release.definition.version));
    Goal {
        release,
        verb: Verb::Deploy,
        cause,
        playbook,
        earlier: None,
        announcement: None,
    }
}
