//! State in etcd, over its JSON gateway: it needs neither a gRPC client nor its definitions.
//!
//! All keys are below the prefix of the URL. A user needs this privilege, or only `read` for verbs
//! that change nothing:
//!
//! ```text
//! etcdctl role add ship
//! etcdctl role grant-permission ship readwrite --prefix=true ship/
//! ```
//!
//! Leases are those of etcd, so the record of a lease disappears when it expires.

mod client;
mod error;
mod lease;
mod messages;
mod read;
mod tls;
mod url;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::time::Instant;

use self::client::{DEADLINE, EtcdClient, Repetition};
use self::error::{EtcdError, EtcdErrorKind};
use self::messages::{
    ByteRange, MemberStatus, OPERATIONS_MAX, STATUS, TRANSACTION, TransactionResponse,
};
use self::url::{EtcdUrl, SCHEME};
use crate::store::database::{
    CommitResult, Condition, Database, KeyRange, Snapshot, Transaction, Write,
};
use crate::store::error::StoreError;
use crate::store::network::NetworkThread;
use crate::store::records::StoreAccess;

/// The default of `--max-request-bytes` of etcd.
const REQUEST_BYTES_MAX: usize = 1536 << 10;
/// A request that has not noticed its own deadline is cancelled later by this.
const MARGIN: Duration = Duration::from_secs(1);

/// A database in etcd.
#[derive(Debug)]
pub struct Etcd {
    network: NetworkThread,
    client: Arc<EtcdClient>,
    location: String,
}

impl Etcd {
    /// Reads the URL and its certificates. The first request connects.
    ///
    /// # Errors
    /// If the URL or a certificate is not valid.
    pub fn open(url: &str, _access: StoreAccess) -> Result<Self, StoreError> {
        let variable = |name: &str| std::env::var(name).ok();
        let parsed = EtcdUrl::parse(url, &variable);
        // The URL itself may be a password without the rest.
        let parsed =
            parsed.map_err(|why| why.into_store_error(&format!("{SCHEME}…"), "read the URL"))?;
        let location = parsed.location();
        let client = EtcdClient::new(parsed)
            .map_err(|why| why.into_store_error(&location, "use the certificates"))?;
        let network = NetworkThread::start().map_err(|why| StoreError::Unavailable {
            location: location.clone(),
            why: format!("cannot start a thread: {why}"),
            hint: "raise the limit of processes: `ulimit -u`".to_owned(),
        })?;
        Ok(Self {
            network,
            client: Arc::new(client),
            location,
        })
    }

    /// Runs a request to its deadline; `doing` completes the sentence `cannot …`.
    fn run<T, F>(
        &self,
        doing: &str,
        request: impl FnOnce(Arc<EtcdClient>, Instant) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EtcdError>> + Send + 'static,
    {
        let future = request(Arc::clone(&self.client), Instant::now() + DEADLINE);
        self.network
            .run(DEADLINE + MARGIN, future)
            .unwrap_or_else(|_| Err(EtcdError::timeout(DEADLINE.as_secs_f64())))
            .map_err(|why| why.into_store_error(&self.location, doing))
    }
}

impl Database for Etcd {
    fn read(&self, ranges: &[KeyRange]) -> Result<Snapshot, StoreError> {
        let ranges = ranges.iter().map(|range| self.client.range(range));
        let ranges: Vec<ByteRange> = ranges.collect();
        self.run("read records", |client, deadline| async move {
            read::snapshot(&client, &ranges, deadline).await
        })
    }

    fn commit(&self, transaction: &Transaction) -> Result<CommitResult, StoreError> {
        let doing = "commit a transaction";
        check_size(transaction).map_err(|why| why.into_store_error(&self.location, doing))?;
        let transaction = transaction.clone();
        self.run(doing, |client, deadline| async move {
            commit(&client, &transaction, deadline).await
        })
    }

    fn renew(&self, key: &str, created: u64) -> Result<bool, StoreError> {
        let key = self.client.key(key);
        self.run("renew a lease", move |client, deadline| async move {
            lease::renew(&client, key, created, deadline).await
        })
    }

    fn watch(&self, key: &str) -> Option<channel::Receiver<u64>> {
        let (sender, receiver) = channel::channel(0);
        let client = Arc::clone(&self.client);
        let key = self.client.key(key);
        self.network.spawn(watch::follow(client, key, sender));
        Some(receiver)
    }

    fn location(&self) -> String {
        self.location.clone()
    }

    /// The size of the whole database of a member, which may also contain keys of other programs:
    /// etcd does not know the size of some of them.
    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.run("read the size", |client, deadline| async move {
            let request = serde_json::json!({});
            let answer = client
                .call(STATUS, &request, Repetition::Allowed, deadline)
                .await?;
            Ok(answer.decode::<MemberStatus>()?.size_bytes)
        })
    }
}

/// Checks the limits of etcd, which it would only report after the whole request was sent.
fn check_size(transaction: &Transaction) -> Result<(), EtcdError> {
    let operations = transaction.conditions.len().max(transaction.writes.len());
    if operations > OPERATIONS_MAX {
        let why = format!(
            "it has {operations} conditions or writes, more than the {OPERATIONS_MAX} that etcd \
             accepts"
        );
        return Err(EtcdError::rejected(why, "split the transaction"));
    }
    let size = |write: &Write| match write {
        Write::Put { key, value } | Write::PutExpiring { key, value } => key.len() + value.len(),
        Write::Delete(KeyRange::Key(key) | KeyRange::Prefix(key)) => 2 * key.len(),
    };
    let bytes: usize = transaction.writes.iter().map(size).sum();
    if bytes > REQUEST_BYTES_MAX {
        let why = format!(
            "its keys and values have {bytes} bytes, more than the {REQUEST_BYTES_MAX} that etcd \
             accepts"
        );
        return Err(EtcdError::rejected(
            why,
            "shorten the playbook or its files",
        ));
    }
    Ok(())
}

async fn commit(
    client: &Arc<EtcdClient>,
    transaction: &Transaction,
    deadline: Instant,
) -> Result<CommitResult, EtcdError> {
    let comparisons: Vec<_> = transaction
        .conditions
        .iter()
        .map(|condition| match condition {
            Condition::Absent { key } => messages::created_comparison(&client.key(key), 0),
            Condition::CreatedBy { key, revision } => {
                messages::created_comparison(&client.key(key), *revision)
            }
            Condition::ModifiedBy { key, revision } => {
                messages::modified_comparison(&client.key(key), *revision)
            }
        })
        .collect();
    let mut leases = Vec::new();
    let mut operations = Vec::new();
    for write in &transaction.writes {
        operations.push(match write {
            Write::Put { key, value } => messages::put_operation(&client.key(key), value, None),
            Write::PutExpiring { key, value } => {
                let lease = lease::grant(client, deadline).await?;
                leases.push(lease);
                messages::put_operation(&client.key(key), value, Some(lease))
            }
            Write::Delete(range) => messages::delete_operation(&client.range(range)),
        });
    }
    if operations.is_empty() {
        // Without any operation, a member would compare with what it knows itself, which may be
        // out of date. Reading asks the others.
        let range = ByteRange::key(client.key(""));
        operations.push(messages::range_operation(&range, None));
    }
    let request = messages::transaction_request(&comparisons, &operations);
    let answer = client
        .call(TRANSACTION, &request, Repetition::Forbidden, deadline)
        .await;
    let is_refused = match &answer {
        Ok(answer) => !answer.decode::<TransactionResponse>()?.succeeded,
        // After any other error, the record may exist, and a lease that is not renewed expires.
        Err(why) => why.kind == EtcdErrorKind::Rejected,
    };
    if is_refused {
        lease::revoke(client, leases);
    }
    let response: TransactionResponse = answer?.decode()?;
    Ok(if response.succeeded {
        CommitResult::Committed(response.header.revision)
    } else {
        CommitResult::Refused
    })
}
