//! Listens for changes of records on a connection of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::connection::PostgresConnector;
use super::error::{PostgresError, PostgresTask};

const RECONNECT_AFTER_MIN: Duration = Duration::from_millis(250);
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(15);
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The numbers of the watched keys. Each changes when the record does.
#[derive(Clone, Debug, Default)]
pub(super) struct PostgresWatcher {
    numbers: Arc<Mutex<BTreeMap<String, watch::Sender<u64>>>>,
}

impl PostgresWatcher {
    /// Returns the number of a key, and whether this is the first key that is watched.
    pub(super) fn subscribe(&self, key: &str) -> (watch::Receiver<u64>, bool) {
        let mut numbers = self.lock();
        let is_first = numbers.is_empty();
        let sender = numbers
            .entry(key.to_owned())
            .or_insert_with(|| watch::Sender::new(0));
        (sender.subscribe(), is_first)
    }

    /// Listens as long as the network thread runs, and connects again when the connection is lost.
    /// Errors are only logged, because requests are also polled.
    pub(super) async fn run(self, connector: Arc<PostgresConnector>) {
        let mut wait = RECONNECT_AFTER_MIN;
        loop {
            match self.listen(&connector).await {
                Ok(()) => wait = RECONNECT_AFTER_MIN,
                Err(error) => {
                    tracing::debug!("{}", error.why);
                    wait = (wait * 2).min(RECONNECT_AFTER_MAX);
                }
            }
            sleep(wait).await;
        }
    }

    /// Listens until the connection is lost.
    async fn listen(&self, connector: &PostgresConnector) -> Result<(), PostgresError> {
        let task = PostgresTask::Listen;
        let (sender, mut keys) = mpsc::unbounded_channel();
        let connection = connector.connect_with_messages(Some(sender)).await?;
        let statement = connector.schema.listen();
        timeout(LISTEN_TIMEOUT, connection.run(&statement))
            .await
            .map_err(|_| task.timed_out())?
            .map_err(|error| connector.failed(task, &error))?;
        // Something may have changed while the connection was lost.
        for number in self.lock().values() {
            change(number);
        }
        while let Some(key) = keys.recv().await {
            if let Some(number) = self.lock().get(&key) {
                change(number);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<u64>>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(number: &watch::Sender<u64>) {
    number.send_modify(|number| *number = number.wrapping_add(1));
}
