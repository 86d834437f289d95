//! What a reporter knows before the rollout that the tests of `core/journal` play.

use std::collections::BTreeMap;

use super::clock::LocalClock;
use super::text::{Glyphs, Versions};
use crate::core::ids::HostId;
pub(super) use crate::core::journal::testing::{Play, START, count, release, row, status};
use crate::report::reporter::ReporterSetup;

/// What a reporter knows of a fleet of so many hosts.
pub(super) fn setup(hosts: u32) -> ReporterSetup {
    ReporterSetup {
        hosts: (1..=hosts)
            .map(|n| HostId::from(format!("node{n}")))
            .collect(),
        ports: vec![8081],
        versions: Versions::new(BTreeMap::from([(release("0.8"), "0.8".to_owned())])),
        clock: LocalClock::ahead(8),
        glyphs: Glyphs::UNICODE,
    }
}
