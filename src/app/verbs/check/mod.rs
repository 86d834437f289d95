//! `ship check`: validates the files and checks every host. Makes no changes.

mod balancers;
mod hosts;
pub mod machine;

use std::path::PathBuf;
use std::sync::Arc;

use self::balancers::check_balancers;
use self::hosts::check_hosts;
use self::machine::MachineCheck;
use crate::app::channels;
use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::app::identity_note::identity_note;
use crate::app::release::Release;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::store::StoreAccess;

/// The result of `ship check`.
pub struct FleetCheck {
    pub inventory: PathBuf,
    pub playbook: PathBuf,
    /// The release that would be deployed, or why it could not be prepared.
    pub release: Result<Release, Error>,
    /// The hosts, then the machines of the balancers.
    pub machines: Vec<MachineCheck>,
    /// What identifies the release, if ship does not run its processes.
    pub identity_note: Option<String>,
    /// Who deployed last, if it was not from here.
    pub elsewhere: Option<String>,
}

impl FleetCheck {
    /// The exit code of the run.
    pub fn exit(&self) -> Exit {
        if self.machines.iter().any(|machine| !machine.is_reachable) {
            return Exit::Unreachable;
        }
        let has_problems = |machine: &MachineCheck| !machine.problems.is_empty();
        match &self.release {
            Err(error) => error.exit(),
            Ok(_) if self.machines.iter().any(has_problems) => Exit::Refused,
            Ok(_) => Exit::Done,
        }
    }
}

/// Validates the files, then checks every host and balancer. Makes no changes.
///
/// # Errors
/// If the inventory or the playbook is invalid, or the state cannot be read.
pub async fn check(env: &Arc<dyn Environment>, overrides: Overrides) -> Result<FleetCheck, Error> {
    // Continue without an artifact, so that all problems are reported at once.
    let (overrides, unresolved) = match channels::resolve(env, overrides.clone()).await {
        Ok(resolved) => (resolved.overrides, None),
        Err(error) => (overrides, Some(error)),
    };
    let session = Session::open(env, &overrides, Reading::Strict, StoreAccess::Read)?;
    let release = match unresolved {
        None => {
            env.prepare_release(&session.project, &session.state_dir, None)
                .await
        }
        Some(error) => Err(error),
    };
    let executor = Arc::new(session.fleet_executor()?);
    let definition = release
        .as_ref()
        .ok()
        .map(|release| release.definition.clone());
    let size_bytes = release.as_ref().map_or(0, Release::size_on_host);
    let mut machines = check_hosts(&session, &executor, definition.as_ref(), size_bytes).await;
    let balancers = check_balancers(&session, &executor, &machines).await;
    machines.extend(balancers?);
    session.check_sudo_password()?;
    let owners = machines
        .iter()
        .filter_map(|machine| Some((machine.host.clone(), machine.owner.clone()?)))
        .collect();
    let elsewhere = session.latest_deploy_elsewhere(&owners);
    Ok(FleetCheck {
        inventory: session.project.inventory.path.clone(),
        playbook: session.project.playbook.path.clone(),
        release,
        identity_note: definition.as_ref().and_then(identity_note),
        machines,
        elsewhere: elsewhere.map(|owner| owner.describe(session.now())),
    })
}
