//! The lease under which this process runs.

use crate::store::database::Condition;
use crate::store::records::ServiceKey;

/// The lease under which this process runs.
pub(super) struct HeldLease {
    pub(super) service_key: ServiceKey,
    pub(super) key: String,
    /// The transaction that created it.
    pub(super) created: u64,
    pub(super) token: String,
    /// This process as a holder, to acquire the lease again.
    pub(super) value: String,
    /// The transaction that last changed the counters of the service, as far as this process
    /// knows: other controllers change them before they act.
    pub(super) counters_modified: Option<u64>,
    /// Whether this process has acquired it, rather than the process that started this one.
    pub(super) is_own: bool,
}

impl HeldLease {
    /// The condition of every write under the lease.
    pub(super) fn condition(&self) -> Condition {
        Condition::CreatedBy {
            key: self.key.clone(),
            revision: self.created,
        }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn service_key(&self) -> &ServiceKey {
        &self.service_key
    }
}
