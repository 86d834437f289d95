//! Why a balancer did not make a change.

use crate::core::ids::{Epoch, HostId};
use crate::remote::HostUnavailable;
use crate::script::ScriptEnd;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchError {
    /// The balancer rejected the change or failed; nothing changed, or the change was undone.
    Failed(String),
    /// The balancer has seen a newer epoch.
    Fenced(Epoch),
    /// There was no response, so the change may have been made or not.
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
    /// One of the balancers has seen a newer epoch.
    Fenced { seen: Epoch },
    /// One of the balancers rejected the change or failed.
    Failed {
        /// The balancer's error, with its name.
        error: String,
    },
    /// A balancer did not respond, so the change may have been made or not.
    Lost {
        balancer: HostId,
        /// What ship tried, and the error.
        why: String,
    },
}

/// Converts the result of a script on a balancer's machine.
pub(super) fn switch_result(balancer: &HostId, end: ScriptEnd) -> Result<(), SwitchError> {
    let unknown = |why: String| Err(SwitchError::Unknown(format!("{balancer}: {why}")));
    match end {
        ScriptEnd::Done => Ok(()),
        ScriptEnd::Fenced { seen } => Err(SwitchError::Fenced(seen)),
        ScriptEnd::Failed(why) => Err(SwitchError::Failed(why)),
        ScriptEnd::Late { .. } => {
            unknown("it has carried out a later action in the meantime".to_owned())
        }
        ScriptEnd::LockBusy { holder } => {
            unknown(format!("another script holds the lock ({holder})"))
        }
    }
}
