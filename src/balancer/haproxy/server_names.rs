//! The names by which `HAProxy` knows the slots.

use std::collections::BTreeMap;

use super::backend::{Backend, ServerState};
use crate::balancer::slots::SlotDirectory;
use crate::core::fleet::traffic::SlotAdmission;
use crate::core::ids::Slot;
use crate::remote::HostUnavailable;

/// The names of the servers, by the playbook and by the releases of the history.
#[derive(Clone, Copy)]
pub(super) struct ServerNames<'a> {
    pub(super) slots: &'a SlotDirectory,
    /// The playbook's template of a name.
    pub(super) template: &'a str,
}

impl ServerNames<'_> {
    /// Every slot and the name of its server, as a backend knows it.
    pub(super) fn all(&self, seen: &Backend) -> Result<BTreeMap<Slot, String>, HostUnavailable> {
        let name = |slot: Slot| self.of(&slot, seen).map(|name| (slot, name));
        self.slots.all().map(name).collect()
    }

    /// The slots of the playbook, and the names that it gives their servers.
    pub(super) fn offered(&self) -> Result<BTreeMap<Slot, String>, HostUnavailable> {
        let name = |slot: Slot| {
            self.slots
                .fill(self.template, &slot)
                .map(|name| (slot, name))
        };
        self.slots.offered().map(name).collect()
    }

    /// The name of a slot's server. Releases may name the servers of one slot differently, and what
    /// an earlier one was admitted by must be closed: of the names that the backend knows that
    /// which gets requests, or still has some; then the playbook's.
    pub(super) fn of(&self, slot: &Slot, seen: &Backend) -> Result<String, HostUnavailable> {
        let names = self.possible(slot)?;
        let rank = |name: &String| {
            let server = seen.servers.get(name).map(ServerState::server);
            server.map(|server| {
                (
                    server.gate == SlotAdmission::Open,
                    server.gate == SlotAdmission::Bound,
                    server.in_flight,
                )
            })
        };
        // Of equal ones the last is taken.
        names
            .into_iter()
            .rev()
            .max_by_key(rank)
            .ok_or_else(|| HostUnavailable {
                why: format!("{slot} has no server"),
            })
    }

    /// The names that a slot's server may have: the playbook's first, then those of releases with
    /// that slot.
    fn possible(&self, slot: &Slot) -> Result<Vec<String>, HostUnavailable> {
        let own = std::iter::once(self.template);
        let others = self
            .slots
            .release_templates(slot)
            .filter(|template| *template != self.template);
        own.chain(others)
            .map(|template| self.slots.fill(template, slot))
            .collect()
    }
}
