//! The server names of the slots in `HAProxy`.

use std::collections::BTreeMap;

use super::backend::{Backend, ServerState};
use crate::balancer::slots::SlotDirectory;
use crate::core::fleet::traffic::SlotAdmission;
use crate::core::ids::Slot;
use crate::remote::HostUnavailable;

/// The server names, by the templates of the playbook and of the releases in the history.
#[derive(Clone, Copy)]
pub(super) struct ServerNames<'a> {
    pub(super) slots: &'a SlotDirectory,
    /// The template in the playbook.
    pub(super) template: &'a str,
}

impl ServerNames<'_> {
    /// Every slot, and the name of its server in a backend.
    pub(super) fn all(&self, seen: &Backend) -> Result<BTreeMap<Slot, String>, HostUnavailable> {
        let name = |slot: Slot| self.name_of(&slot, seen).map(|name| (slot, name));
        self.slots.all().map(name).collect()
    }

    /// The slots of the playbook, and their server names.
    pub(super) fn of_playbook(&self) -> Result<BTreeMap<Slot, String>, HostUnavailable> {
        let name = |slot: Slot| {
            self.slots
                .render(self.template, &slot)
                .map(|name| (slot, name))
        };
        self.slots.playbook_slots().map(name).collect()
    }

    /// The name of a slot's server. Releases may name the server of a slot differently, and a
    /// server that an earlier release has opened must be closed. Of the possible names, this is the
    /// one whose server gets requests or still has some; if there is none, the playbook's.
    pub(super) fn name_of(&self, slot: &Slot, seen: &Backend) -> Result<String, HostUnavailable> {
        let names = self.possible(slot)?;
        let rank = |name: &String| {
            let server = seen.servers.get(name).copied().map(ServerState::to_server);
            server.map(|server| {
                (
                    server.admission == SlotAdmission::Open,
                    server.admission == SlotAdmission::Bound,
                    server.in_flight,
                )
            })
        };
        // `max_by_key` returns the last of equal elements.
        names
            .into_iter()
            .rev()
            .max_by_key(rank)
            .ok_or_else(|| HostUnavailable {
                why: format!("{slot} has no server"),
            })
    }

    /// The possible names of a slot's server: the playbook's first, then those of releases that use
    /// the slot.
    fn possible(&self, slot: &Slot) -> Result<Vec<String>, HostUnavailable> {
        let own = std::iter::once(self.template);
        let others = self
            .slots
            .release_templates(slot)
            .filter(|template| *template != self.template);
        own.chain(others)
            .map(|template| self.slots.render(template, slot))
            .collect()
    }
}
