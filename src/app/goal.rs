//! What a rollout is to reach.

use super::environment::Environment;
use super::exit::Exit;
use super::notice::{Accepted, Notice};
use super::release::Release;
use crate::core::rollout::Rollout;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;

/// What is wanted.
pub struct Goal {
    /// To which release.
    pub release: Release,
    /// By which verb.
    pub verb: Verb,
    /// Why, for the history.
    pub cause: String,
    /// The playbook's text, for the history.
    pub playbook: String,
    /// The rollout that it goes on with, if it is one.
    pub earlier: Option<Earlier>,
    /// What is told once nothing can refuse it any more.
    pub announcement: Option<Accepted>,
}

impl Goal {
    /// Says what can no longer be refused.
    pub fn announce(&self, env: &dyn Environment) {
        let accepted = self.announcement.clone().map(Notice::Accepted);
        accepted.iter().for_each(|notice| env.tell(notice));
    }

    /// What the caller is told of a rollout that ended so: to go back is no failure where it was
    /// asked for.
    pub fn exit(&self, outcome: &Outcome) -> Exit {
        match &self.earlier {
            Some(Earlier {
                then: GoOn::Back(_),
                ..
            }) => Exit::of_abort(outcome),
            _ => Exit::of(self.verb, outcome),
        }
    }
}

/// A rollout that stands still and is to go on.
pub struct Earlier {
    /// How it stood, as its journal tells.
    pub rollout: Rollout,
    /// What happens to it now.
    pub then: GoOn,
}

/// How a rollout goes on.
pub enum GoOn {
    /// In its direction.
    Onward,
    /// From its step to the next, because this person asks for it; through all steps if `full`.
    Promoted {
        /// Who.
        by: String,
        /// Whether through all steps that are left.
        full: bool,
    },
    /// Back, because this person asks for it.
    Back(String),
    /// Only in numbers: it stands afterwards as it does now.
    Scaled(Outcome),
}
