//! The response of a stack to the failure of a service.

use serde::{Deserialize, Serialize};

/// What happens to the services already rolled out if another one fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStackFailure {
    /// They roll back, in the reverse order.
    #[default]
    RollBack,
    /// They stay, for a person to decide.
    Hold,
}
