//! Everything that the template of a page fills in.

use serde::Serialize;

use super::incident::Incident;
use super::next_steps::NextStep;
use super::section::Section;
use super::verdict::PageVerdict;

/// The page of a rollout or of a deployment.
#[derive(Debug, Serialize)]
pub(super) struct PageContext {
    #[serde(flatten)]
    pub(super) heading: Heading,
    /// The services of a deployment; empty on the page of a rollout.
    pub(super) services: Vec<ServiceRow>,
    pub(super) basics: Vec<[String; 2]>,
    pub(super) incidents: Vec<Incident>,
    pub(super) failed_hosts: Vec<[String; 2]>,
    pub(super) next: Vec<NextStep>,
    /// The services with their lanes; before those of a deployment, its own timeline.
    pub(super) sections: Vec<Section>,
    pub(super) foot: String,
}

/// The head of a page.
#[derive(Debug, Serialize)]
pub(super) struct Heading {
    pub(super) title: String,
    #[serde(flatten)]
    pub(super) verdict: PageVerdict,
    /// The first failure; empty if there was none.
    pub(super) reason: String,
    pub(super) summary: String,
    /// `rollout` or `deployment`.
    pub(super) kind: &'static str,
    /// The service, or `deployment 2`.
    pub(super) subject: String,
    pub(super) fleet: String,
    /// Empty if nothing ran before, and for a deployment.
    pub(super) from: String,
    /// Empty for a deployment.
    pub(super) to: String,
}

/// A service of a deployment in one line.
#[derive(Debug, Serialize)]
pub(super) struct ServiceRow {
    pub(super) sign: &'static str,
    pub(super) tone: &'static str,
    pub(super) service: String,
    /// `1 → 2`
    pub(super) versions: String,
    pub(super) outcome: String,
    pub(super) duration: String,
    /// The fewest available instances, and the failed requests.
    pub(super) availability: String,
}
