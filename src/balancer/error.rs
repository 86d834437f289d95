//! Why a balancer did not make a change.

use crate::core::ids::{Epoch, HostId};
use crate::remote::HostUnavailable;
use crate::script::ScriptEnd;

/// Why one balancer did not make a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchError {
    /// It refused or failed; nothing changed, or the change was undone.
    Failed(String),
    /// It has seen a newer epoch.
    Fenced(Epoch),
    /// No answer came: the change may have been made or not.
    Unknown(String),
}

impl From<HostUnavailable> for SwitchError {
    fn from(unavailable: HostUnavailable) -> Self {
        Self::Unknown(unavailable.why)
    }
}

/// Why not all balancers of a slot made a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BalancerError {
    /// One of them has seen a newer epoch.
    Fenced { seen: Epoch },
    /// One of them refused or failed.
    Failed {
        /// What the balancer answered, with its name.
        error: String,
    },
    /// A balancer did not answer, so the change may have been made or not.
    Lost {
        balancer: HostId,
        /// What was tried and what came back.
        why: String,
    },
}

/// Judges how a script on a balancer's machine ended.
pub(super) fn judge_end(balancer: &HostId, end: ScriptEnd) -> Result<(), SwitchError> {
    let unknown = |why: String| Err(SwitchError::Unknown(format!("{balancer}: {why}")));
    match end {
        ScriptEnd::Done => Ok(()),
        ScriptEnd::Fenced { seen } => Err(SwitchError::Fenced(seen)),
        ScriptEnd::Failed(why) => Err(SwitchError::Failed(why)),
        ScriptEnd::Late { .. } => unknown("it has carried out a later order meanwhile".to_owned()),
        ScriptEnd::LockBusy { holder } => {
            unknown(format!("another script holds the lock ({holder})"))
        }
    }
}
