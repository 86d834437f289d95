//! The goal of a rollout.

use super::environment::Environment;
use super::error::Error;
use super::exit::Exit;
use super::notice::{Accepted, Notice};
use super::release::Release;
use super::session::Session;
use crate::core::policy::admission::request::AdmissionRequest;
use crate::core::policy::continuation::{Continuation, stopped_rollout};
use crate::core::policy::revision::RevisionRecord;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::task::ContractPolicy;
use crate::core::rollout::verb::Verb;

/// The release that a rollout deploys, and how it starts.
pub struct Goal {
    pub release: Release,
    pub verb: Verb,
    pub reason: String,
    /// The text of the playbook, for the history.
    pub playbook: String,
    /// How the newest rollout continues, if it does.
    pub continuation: Option<Continuation>,
    /// Announced once the request can no longer be refused.
    pub accepted: Option<Accepted>,
}

impl Goal {
    /// A new rollout of an earlier revision.
    pub fn for_revision(
        session: &Session,
        record: &RevisionRecord,
        verb: Verb,
        reason: String,
        accepted: Option<Accepted>,
    ) -> Self {
        Self {
            release: Release::from_history(&session.project, record),
            verb,
            reason,
            playbook: record.playbook.clone(),
            continuation: None,
            accepted,
        }
    }

    /// The continuation of the newest rollout.
    ///
    /// # Errors
    /// If there is none, or its revision is no longer in the history.
    pub fn for_stopped_rollout(
        session: &Session,
        continuation: Continuation,
        accepted: Option<Accepted>,
    ) -> Result<Self, Error> {
        let (rollout, record) = stopped_rollout(&session.history)?;
        let (verb, reason) = (rollout.verb, record.reason.clone());
        Ok(Self {
            continuation: Some(continuation),
            ..Self::for_revision(session, record, verb, reason, accepted)
        })
    }

    /// Announces that the request was accepted.
    pub fn announce(&self, env: &dyn Environment) {
        if let Some(accepted) = &self.accepted {
            env.notify(&Notice::Accepted(accepted.clone()));
        }
    }

    pub fn request<'a>(&'a self, session: &'a Session) -> AdmissionRequest<'a> {
        AdmissionRequest {
            verb: self.verb,
            release: &self.release.id,
            definition: &self.release.definition,
            continuation: self.continuation.clone(),
            mode: session.mode,
            contracts: if session.env.is_within_deployment() {
                ContractPolicy::AfterDeployment
            } else {
                ContractPolicy::InRollout
            },
            set: &session.set,
            hosts_from: session.hosts_from(),
        }
    }

    /// The exit code for this outcome. A rollback that the user requested is a success.
    pub fn exit(&self, outcome: &Outcome) -> Exit {
        match &self.continuation {
            Some(Continuation::RollBack { .. }) => Exit::of_abort(outcome),
            _ => Exit::of(self.verb, outcome),
        }
    }
}
