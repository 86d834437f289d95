//! What a script says for an answer.

use thiserror::Error;

use super::report::Report;
use crate::core::fleet::Observation;
use crate::core::ids::{ActionId, Epoch};
use crate::core::time::Time;

/// How a script ended, and what it saw last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it ended.
    pub end: End,
    /// What was on the host then.
    pub observation: Observation,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The order is carried out, now or before.
    Done,
    /// It is not; why, in words.
    Failed(String),
    /// The host has seen a newer epoch: another rollout has taken over. Nothing was done.
    Fenced {
        /// The newer one.
        seen: Epoch,
    },
    /// The host has taken a later order of the same epoch: this one was late. Nothing was done.
    Late {
        /// The later one.
        taken: ActionId,
    },
    /// Another script of the service did not end in time. Nothing was done.
    LockBusy {
        /// What is known of it: `stop, epoch 7, order 3, pid 4711, for 12 s`.
        holder: String,
    },
}

/// Why nobody knows what a script has done or seen. The host is to be observed again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// It printed nothing that could be the beginning.
    #[error("the host's answer does not begin as ship's scripts do")]
    NoBeginning,
    /// The connection, or the script, broke off.
    #[error("the host's answer breaks off before its end")]
    NoEnd,
    /// The host could not say what runs on it.
    #[error("the host could not say what runs on it: {0}")]
    Unseen(String),
    /// Somebody else could change what ship runs there. Nothing was done.
    #[error("{0}")]
    Refused(String),
    /// A line makes no sense.
    #[error("the host's answer has a line that makes no sense: `{line}` {why}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something is not there that has to be.
    #[error("the host's answer lacks {0}")]
    Missing(String),
}

/// Reads what a script has printed, at `now` by this machine's clock. The host's clock does not
/// matter.
///
/// # Errors
/// If it did not come to its end, or makes no sense: then nobody knows what it has done.
pub fn read_reply(stdout: &str, now: Time) -> Result<Reply, Unreadable> {
    let report = Report::read(stdout, now)?;
    Ok(Reply {
        end: report.end,
        observation: report.observation,
    })
}
