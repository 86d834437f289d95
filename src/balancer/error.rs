//! Why a balancer does not do as it was told.

use crate::core::ids::{Epoch, HostId};
use crate::remote::HostUnavailable;
use crate::script::End;

/// Why one balancer does not do as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchError {
    /// It refused or failed; nothing was changed, or what was changed is changed back.
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

/// Why the balancers of a slot do not all do as they were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BalancerError {
    /// One of them has seen a newer epoch.
    Fenced { seen: Epoch },
    /// One of them refused or failed.
    Failed {
        /// What the balancer answered, with its name.
        error: String,
    },
    /// One of them could not be asked, or nobody knows whether it did as it was told.
    Lost {
        balancer: HostId,
        /// What was tried and what came back.
        why: String,
    },
}

/// Whether a script on a balancer's machine has done what it was to do, or why not.
pub(super) fn judge_end(balancer: &HostId, end: End) -> Result<(), SwitchError> {
    let unknown = |why: String| Err(SwitchError::Unknown(format!("{balancer}: {why}")));
    match end {
        End::Done => Ok(()),
        End::Fenced { seen } => Err(SwitchError::Fenced(seen)),
        End::Failed(why) => Err(SwitchError::Failed(why)),
        End::Late { .. } => unknown("it has carried out a later order meanwhile".to_owned()),
        End::LockBusy { holder } => unknown(format!("another script holds the lock ({holder})")),
    }
}
