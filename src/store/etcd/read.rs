//! Reads records at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::client::{EtcdClient, Repetition};
use super::error::{EtcdError, EtcdErrorKind};
use super::messages::{
    ByteRange, KeyValue, LEASE_TTL, LeaseTtl, OPERATIONS_MAX, TRANSACTION, TransactionResponse,
    lease_request, range_operation, transaction_request,
};
use crate::core::time::Time;
use crate::store::database::{Snapshot, StoredRecord};
use crate::store::lease::LEASE_EXPIRES_AFTER;

const LEASE_REQUESTS_MAX: usize = 8;
/// The age of a record whose lease expired while it was read.
const EXPIRED: Duration = LEASE_EXPIRES_AFTER.saturating_add(Duration::from_secs(1));

/// Reads ranges and the ages of the leases in them.
pub(super) async fn snapshot(
    client: &EtcdClient,
    ranges: &[ByteRange],
    deadline: Instant,
) -> Result<Snapshot, EtcdError> {
    let (found, at) = loop {
        match records(client, ranges, deadline).await {
            // Another process has compacted between the parts of a large read.
            Err(why) if why.kind == EtcdErrorKind::Compacted && Instant::now() < deadline => {}
            other => break other?,
        }
    };
    let leases = found.iter().flatten().map(|record| record.lease);
    let leases: BTreeSet<i64> = leases.filter(|lease| *lease != 0).collect();
    let ages: BTreeMap<i64, Duration> = stream::iter(leases)
        .map(|lease| async move {
            let age = lease_age(client, lease, deadline).await?;
            Ok::<_, EtcdError>((lease, age))
        })
        .buffer_unordered(LEASE_REQUESTS_MAX)
        .try_collect()
        .await?;
    let record = |found: KeyValue| decode(found, client.prefix(), &ages);
    let ranges = found
        .into_iter()
        .map(|range| range.into_iter().map(record).collect())
        .collect::<Result<_, _>>()?;
    Ok(Snapshot { at, ranges })
}

/// Reads ranges as etcd stores them, and its time.
pub(super) async fn records(
    client: &EtcdClient,
    ranges: &[ByteRange],
    deadline: Instant,
) -> Result<(Vec<Vec<KeyValue>>, Time), EtcdError> {
    let mut found = Vec::with_capacity(ranges.len());
    let mut moment = None;
    // A transaction without operations would not ask the other members.
    let placeholder = [ByteRange::key(client.key(""))];
    let is_empty = ranges.is_empty();
    let ranges = if is_empty { &placeholder } else { ranges };
    for part in ranges.chunks(OPERATIONS_MAX) {
        // The first part determines the revision of the others.
        let revision = moment.map(|(revision, _)| revision);
        let operations: Vec<_> = part
            .iter()
            .map(|range| range_operation(range, revision))
            .collect();
        let request = transaction_request(&[], &operations);
        let answer = client
            .call(TRANSACTION, &request, Repetition::Allowed, deadline)
            .await?;
        let response: TransactionResponse = answer.decode()?;
        if response.responses.len() != part.len() {
            let why = "the answer does not have a part for each range";
            let hint = "the URL must name client URLs of etcd 3.4 or newer";
            return Err(EtcdError::rejected(why, hint));
        }
        let at = answer.date.ok_or_else(|| {
            let hint = "no proxy before etcd may remove the header `Date`";
            EtcdError::rejected("the answer has no time", hint)
        })?;
        moment.get_or_insert((response.header.revision, at));
        let kvs = response.responses.into_iter();
        found.extend(kvs.map(|response| response.response_range.kvs));
    }
    if is_empty {
        found.clear();
    }
    let at = moment.map_or(Time(0), |(_, at)| at);
    Ok((found, at))
}

/// The time since a lease was granted or renewed. etcd rounds it up to whole seconds.
async fn lease_age(
    client: &EtcdClient,
    lease: i64,
    deadline: Instant,
) -> Result<Duration, EtcdError> {
    let answer = client
        .call(
            LEASE_TTL,
            &lease_request(lease),
            Repetition::Allowed,
            deadline,
        )
        .await;
    let ttl: LeaseTtl = match answer {
        Ok(answer) => answer.decode()?,
        Err(why) if why.kind == EtcdErrorKind::LeaseNotFound => return Ok(EXPIRED),
        Err(why) => return Err(why),
    };
    // In its last second, a lease has 0 seconds left.
    if ttl.granted_s <= 0 || ttl.remaining_s < 0 {
        return Ok(EXPIRED);
    }
    let seconds = ttl.granted_s.saturating_sub(ttl.remaining_s);
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn decode(
    found: KeyValue,
    prefix: &str,
    ages: &BTreeMap<i64, Duration>,
) -> Result<StoredRecord, EtcdError> {
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| {
            let why = format!("a record below `{prefix}/` is not text");
            EtcdError::rejected(why, "use a prefix that no other program uses")
        })
    };
    let key = text(found.key)?;
    let key = key.strip_prefix(prefix).unwrap_or(&key);
    Ok(StoredRecord {
        key: key.strip_prefix('/').unwrap_or(key).to_owned(),
        value: text(found.value)?,
        created: found.create_revision,
        modified: found.mod_revision,
        age: ages.get(&found.lease).copied().unwrap_or_default(),
    })
}
