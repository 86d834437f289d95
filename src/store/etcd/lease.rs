//! Leases of etcd: a record that belongs to a lease is deleted with it.

use std::sync::Arc;

use tokio::time::Instant;

use super::client::{DEADLINE, EtcdClient, Repetition};
use super::error::{EtcdError, EtcdErrorKind};
use super::messages::{
    ByteRange, GRANT_LEASE, GrantResponse, LeaseTtl, RENEW_LEASE, REVOKE_LEASE, Streamed,
    grant_request, lease_request,
};
use super::read::records;
use crate::store::lease::LEASE_EXPIRES_AFTER;

/// Creates a lease. If the answer is lost, the lease expires unused.
pub(super) async fn grant(client: &EtcdClient, deadline: Instant) -> Result<i64, EtcdError> {
    let request = grant_request(LEASE_EXPIRES_AFTER.as_secs());
    let answer = client
        .call(GRANT_LEASE, &request, Repetition::Allowed, deadline)
        .await?;
    Ok(answer.decode::<GrantResponse>()?.id)
}

/// Ends leases in the background. Those for which it fails expire.
pub(super) fn revoke(client: &Arc<EtcdClient>, leases: Vec<i64>) {
    if leases.is_empty() {
        return;
    }
    let client = Arc::clone(client);
    tokio::spawn(async move {
        let deadline = Instant::now() + DEADLINE;
        for lease in leases {
            let request = lease_request(lease);
            let answer = client.call(REVOKE_LEASE, &request, Repetition::Allowed, deadline);
            if let Err(why) = answer.await {
                tracing::debug!(why.why, "cannot revoke a lease in etcd");
            }
        }
    });
}

/// Renews the lease that a record belongs to. Returns whether the record still exists and was
/// created by the transaction `created`.
///
/// The lease is that of the record, not one that this process remembers: after a commit without an
/// answer, it cannot know which of its leases the record has.
pub(super) async fn renew(
    client: &EtcdClient,
    key: Vec<u8>,
    created: u64,
    deadline: Instant,
) -> Result<bool, EtcdError> {
    let range = ByteRange::key(key);
    let (found, _) = records(client, &[range], deadline).await?;
    let record = found.into_iter().flatten().next();
    let Some(record) = record.filter(|record| record.create_revision == created) else {
        return Ok(false);
    };
    if record.lease == 0 {
        // It does not expire.
        return Ok(true);
    }
    let request = lease_request(record.lease);
    let answer = client
        .call(RENEW_LEASE, &request, Repetition::Allowed, deadline)
        .await;
    match answer {
        Ok(answer) => Ok(answer.decode::<Streamed<LeaseTtl>>()?.result.remaining_s > 0),
        Err(why) if why.kind == EtcdErrorKind::LeaseNotFound => Ok(false),
        Err(why) => Err(why),
    }
}
