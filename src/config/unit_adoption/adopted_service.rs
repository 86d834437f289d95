//! Adopts a unit: decides whether it can be done, and writes the playbook.

use super::adopted_settings::{AdoptedSettings, UnitUser};
use super::origin::uses_python_environment;
use super::playbook_text::playbook_text;
use super::refusal::UnitRefusal;
use super::unit_name::UnitName;
use super::unit_site::UnitSite;
use crate::core::existing_unit::ExistingUnit;
use crate::core::ids::Port;

/// A service of ship, made from a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedService {
    /// The unit, as systemd names it.
    pub unit: String,
    /// The program that it runs.
    pub program: String,
    pub user: String,
    /// The ports on which it listens.
    pub ports: Vec<Port>,
    /// The text of the playbook.
    pub playbook: String,
    /// The number of settings that the playbook does not have.
    pub dropped: usize,
    /// What the user must do or know before a deploy.
    pub notes: Vec<String>,
}

/// The first words of the units that ship writes.
const OWN_MARK: &str = "# Written by ship for the service ";

/// Writes a playbook for a unit that runs.
///
/// # Errors
/// If ship cannot run such a service, or the unit does not run.
pub fn adopt_unit(unit: &ExistingUnit, site: &UnitSite<'_>) -> Result<AdoptedService, UnitRefusal> {
    check_loaded(unit)?;
    let name = UnitName::parse(unit.property("Id"))?;
    check_kind(unit)?;
    check_running(unit)?;
    let settings = AdoptedSettings::read(unit, name)?;
    Ok(AdoptedService {
        unit: settings.name.full(),
        program: settings.start.program().to_owned(),
        user: match &settings.user {
            UnitUser::Named(user) => user.clone(),
            UnitUser::Root => "root".to_owned(),
            UnitUser::Dynamic => "a user that systemd creates".to_owned(),
            UnitUser::Unusable => unit.property("User").to_owned(),
        },
        ports: settings.ports.all.clone(),
        dropped: settings.settings.dropped.len(),
        notes: notes(&settings),
        playbook: playbook_text(&settings, site),
    })
}

fn check_loaded(unit: &ExistingUnit) -> Result<(), UnitRefusal> {
    match unit.property("LoadState") {
        "loaded" => Ok(()),
        "not-found" => Err(UnitRefusal::NotFound),
        "masked" => Err(UnitRefusal::Masked),
        state => {
            let why = unit.property("LoadError");
            // The name of the error on the bus comes first.
            let why = why.split_once(' ').map_or(state, |(_, why)| why);
            Err(UnitRefusal::NotLoaded(why.trim_matches('"').to_owned()))
        }
    }
}

fn check_kind(unit: &ExistingUnit) -> Result<(), UnitRefusal> {
    if unit.text.contains(OWN_MARK) {
        return Err(UnitRefusal::OwnUnit);
    }
    let kind = unit.property("Type");
    match kind {
        "forking" => return Err(UnitRefusal::Forking(kind.to_owned())),
        "dbus" => return Err(UnitRefusal::Bus),
        "oneshot" => return Err(UnitRefusal::NotLongRunning(kind.to_owned())),
        _ => {}
    }
    let mut triggers = unit.property("TriggeredBy").split_whitespace();
    match triggers.find(|trigger| trigger.ends_with(".socket")) {
        Some(socket) => Err(UnitRefusal::SocketActivation(socket.to_owned())),
        None => Ok(()),
    }
}

fn check_running(unit: &ExistingUnit) -> Result<(), UnitRefusal> {
    if let Some(why) = &unit.unreadable {
        return Err(UnitRefusal::Unreadable(why.clone()));
    }
    match unit.property("ActiveState") {
        // A unit may stay active after its process has ended.
        "active" | "reloading" if unit.property("MainPID") != "0" => Ok(()),
        "active" => Err(UnitRefusal::NotRunning("its process has ended".to_owned())),
        state => Err(UnitRefusal::NotRunning(state.to_owned())),
    }
}

/// What the user must do or know before a deploy.
fn notes(settings: &AdoptedSettings) -> Vec<String> {
    let mut notes = Vec::new();
    if settings.needs_daemon_reload {
        notes.push(
            "the files of the unit have changed since systemd read them; run `systemctl \
             daemon-reload` and adopt it again"
                .to_owned(),
        );
    }
    if !settings.start.is_exact {
        notes.push("systemd prints the command without its quotes; check `command`".to_owned());
    }
    if settings.may_miss_ports {
        notes.push(
            "this user cannot see on which ports the service listens, only those that its command \
             names; pass --sudo to see all"
                .to_owned(),
        );
    }
    if !settings.secrets.is_empty() {
        notes.push(format!(
            "the values of {} were not copied; set them in the environment of ship, or in a file \
             that `env_file` names",
            settings.secrets.join(", ")
        ));
    }
    if uses_python_environment(&settings.start, &settings.python) {
        notes.push(
            "the program belongs to a Python environment, which stays where it is and is not part of \
             a release"
                .to_owned(),
        );
    }
    notes
}
