//! The check of one machine.

use crate::core::fleet::identity::Identity;
use crate::core::fleet::owner::Owner;
use crate::core::fleet::{Observation, Occupant};
use crate::core::ids::{HostId, Slot, SlotNumber};
use crate::core::release::Driver;
use crate::core::spec::impossible::Impossible;
use crate::report::text::count;
use crate::script::Facts;

/// The result of checking one machine.
pub struct MachineCheck {
    pub host: HostId,
    pub is_reachable: bool,
    /// The user of the login and the free disk space.
    pub access: String,
    /// The number of instances or servers.
    pub workload: String,
    /// Problems that make a deploy fail.
    pub problems: Vec<String>,
    /// Slow logins or scripts.
    pub slow: Vec<String>,
    /// Possible problems, which do not fail the check.
    pub warnings: Vec<String>,
    /// The slots with a running instance.
    pub(super) running: Vec<Slot>,
    pub(super) owner: Option<Owner>,
    pub(super) identity: Option<Identity>,
}

/// The requirements for a machine, except for programs.
#[derive(Clone, Copy)]
pub(super) struct Requirements<'a> {
    pub(super) driver: Driver,
    /// The slots that must be free or in use by the service.
    pub(super) slots: &'a [SlotNumber],
    /// Disk space for the release.
    pub(super) size_bytes: u64,
    /// How scripts become root: `through sudo`; empty if they do not have to.
    pub(super) escalation: &'static str,
}

impl MachineCheck {
    pub(super) fn unreachable(host: HostId, why: String) -> Self {
        let (access, workload) = (String::new(), String::new());
        Self {
            host,
            is_reachable: false,
            access,
            workload,
            problems: vec![why],
            slow: Vec::new(),
            warnings: Vec::new(),
            running: Vec::new(),
            owner: None,
            identity: None,
        }
    }

    /// Compares the facts about a machine with the requirements.
    pub(super) fn from_facts(
        host: HostId,
        required: Requirements<'_>,
        facts: &Facts,
        observation: &Observation,
    ) -> Self {
        let mut problems = missing_programs(facts);
        if required.driver == Driver::Systemd {
            problems.extend(systemd_problems(facts));
        }
        problems.extend(taken_ports(&host, required.slots, observation));
        problems.extend(disk_space_problem(required.size_bytes, observation));
        let free = observation
            .free_kib
            .map_or(String::new(), |free| format!(", {} MiB free", free / 1024));
        let instances = observation.slots.values().filter(|slot| is_instance(slot));
        Self {
            is_reachable: true,
            access: format!("reached as {}{}{free}", facts.user, required.escalation),
            workload: [
                count(instances.count(), "instance"),
                releases(facts, observation),
                shared_dirs(facts),
            ]
            .concat(),
            problems,
            slow: Vec::new(),
            warnings: facts.warnings.clone(),
            running: running(&host, observation),
            owner: observation.owner.clone(),
            identity: observation.identity.clone(),
            host,
        }
    }
}

/// `, 3 releases (310 MiB)`; empty without releases.
fn releases(facts: &Facts, observation: &Observation) -> String {
    let held = observation.releases.len();
    let size = facts.releases_kib.map(|kib| kib.div_ceil(1024));
    match size {
        Some(mib) if held > 0 => format!(", {} ({mib} MiB)", count(held, "release")),
        _ => String::new(),
    }
}

/// `, shared: uploads (12 MiB)`; empty without shared directories.
fn shared_dirs(facts: &Facts) -> String {
    let dirs = facts.shared_dirs.iter().map(|(dir, kib)| match kib {
        Some(kib) => format!("{dir} ({} MiB)", kib.div_ceil(1024)),
        None => format!("{dir} (too large to measure quickly)"),
    });
    let dirs: Vec<_> = dirs.collect();
    if dirs.is_empty() {
        String::new()
    } else {
        format!(", shared: {}", dirs.join(", "))
    }
}

fn missing_programs(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    if !facts.missing.is_empty() {
        problems.push(format!(
            "missing programs: {}; install them",
            facts.missing.join(", ")
        ));
    }
    problems.extend(facts.problems.iter().cloned());
    problems
}

fn systemd_problems(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    if facts.systemd.is_none() {
        problems.push("systemd is not running; use driver = \"process\"".into());
    }
    if facts.user != "root" {
        problems.push(format!(
            "the systemd driver needs root, but scripts run as {}; set sudo = true in the inventory",
            facts.user
        ));
    }
    problems
}

fn taken_ports(host: &HostId, slots: &[SlotNumber], observation: &Observation) -> Vec<String> {
    let taken = |(number, occupant): (&SlotNumber, &Occupant)| match occupant {
        Occupant::OtherProcess(who) if slots.contains(number) => {
            let taken = Impossible::SlotTaken {
                slot: slot(host, *number),
                who: who.clone(),
            };
            Some(taken.to_string())
        }
        Occupant::OtherProcess(_) | Occupant::Instance(_) => None,
    };
    observation.slots.iter().filter_map(taken).collect()
}

fn disk_space_problem(size_bytes: u64, observation: &Observation) -> Option<String> {
    let needed_kib = size_bytes.div_ceil(1024);
    let free = observation.free_kib.filter(|free| *free < needed_kib)?;
    Some(format!(
        "{free} KiB free, but the release needs about {needed_kib} KiB; free some disk space"
    ))
}

fn is_instance(occupant: &Occupant) -> bool {
    matches!(occupant, Occupant::Instance(_))
}

fn running(host: &HostId, observation: &Observation) -> Vec<Slot> {
    let runs = |occupant: &Occupant| matches!(occupant, Occupant::Instance(instance) if instance.is_running());
    let running = observation
        .slots
        .iter()
        .filter(|(_, occupant)| runs(occupant));
    running.map(|(number, _)| slot(host, *number)).collect()
}

fn slot(host: &HostId, number: SlotNumber) -> Slot {
    Slot {
        host: host.clone(),
        number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_reports_too_little_disk_space() {
        let observation = |free_kib| Observation {
            free_kib: Some(free_kib),
            ..Observation::default()
        };
        let facts = Facts {
            user: "root".into(),
            ..Facts::default()
        };
        let required = Requirements {
            driver: Driver::Process,
            slots: &[],
            size_bytes: 5 << 20,
            escalation: "",
        };
        let problems = |free| {
            MachineCheck::from_facts("web1".into(), required, &facts, &observation(free)).problems
        };
        assert_eq!(problems(6 << 10), Vec::<String>::new());
        let expected = "4096 KiB free, but the release needs about 5120 KiB; free some disk space";
        assert_eq!(problems(4 << 10), [expected]);
    }
}
