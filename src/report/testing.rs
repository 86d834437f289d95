//! The setup of a reporter for the rollouts that the tests play.

use std::collections::BTreeMap;

use super::clock::LocalClock;
use super::text::{Glyphs, Versions};
use crate::core::ids::HostId;
pub(super) use crate::core::journal::testing::{
    Play, START, count, release, revision_ref, row, status,
};
use crate::report::reporter::ReporterSetup;

/// The setup for a fleet of this many hosts.
pub(super) fn setup(hosts: u32) -> ReporterSetup {
    ReporterSetup {
        hosts: (1..=hosts)
            .map(|n| HostId::from(format!("node{n}")))
            .collect(),
        slots: vec![8081],
        versions: Versions::new(BTreeMap::from([(release("0.8"), "0.8".to_owned())])),
        clock: LocalClock::ahead(8),
        glyphs: Glyphs::UNICODE,
        service: None,
    }
}
