//! An entry of a service's history.

use crate::core::ids::{ReleaseId, Revision};
use crate::core::policy::history::PastRevision;
use crate::core::release::Definition;
use crate::core::rollout::event::RevisionRef;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

#[derive(Clone, Debug, PartialEq)]
pub struct RevisionRecord {
    pub revision: Revision,
    pub release: ReleaseId,
    /// The release itself, so that an old revision is run and probed with the settings of its time.
    pub definition: Definition,
    /// The playbook of that time, for `ship history --revision N`.
    pub playbook: String,
    /// Who asked for it: `anna@laptop`.
    pub who: String,
    /// The reason that the user gave.
    pub reason: String,
    pub verb: Verb,
    /// When its first rollout began.
    pub began: Time,
    /// When its newest rollout ended; `None` while it runs. A stopped revision has several.
    pub ended: Option<Time>,
    /// The outcome of that rollout; `None` while it runs, or if the controller died.
    pub outcome: Option<Outcome>,
    /// Whether a rollout of it has ever succeeded with at least one instance that served.
    pub proven: bool,
    /// The digest of the unpacked files of the release, in lower-case hex; `None` if it is not known.
    pub contents_sha256: Option<String>,
}

impl RevisionRecord {
    /// The revision as a rollout refers to it.
    pub fn revision_ref(&self) -> RevisionRef {
        RevisionRef {
            revision: self.revision,
            release: self.release.clone(),
            version: self.definition.version.clone(),
        }
    }

    /// What the choice of a rollback target needs.
    pub fn past(&self) -> PastRevision {
        PastRevision {
            revision: self.revision,
            release: self.release.clone(),
            verb: self.verb,
            proven: self.proven,
        }
    }

    /// Whether the revision is a rollback that was interrupted or still runs.
    pub fn is_unfinished_rollback(&self) -> bool {
        let is_open = matches!(
            self.outcome,
            None | Some(
                Outcome::Interrupted | Outcome::WindowClosed { .. } | Outcome::Fenced { .. }
            )
        );
        self.verb == Verb::Rollback && is_open
    }
}
