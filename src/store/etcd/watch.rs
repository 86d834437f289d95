//! Reports changes of a record, across the loss of endpoints.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::client::{DEADLINE, EtcdClient};
use super::error::{EtcdError, EtcdErrorKind};
use super::messages::{ErrorAnswer, Streamed, WATCH, WatchResponse, watch_request};

/// If an endpoint is silent for so long, the watch continues at another one: a suspended member
/// keeps its connections open.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest message. It contains the value of the record, in base64.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Changes the number whenever the record changes or may have changed, until no one listens.
pub(super) async fn follow(client: Arc<EtcdClient>, key: Vec<u8>, changes: watch::Sender<u64>) {
    let watching = async {
        let mut endpoint = client.first_endpoint();
        let mut pause = PAUSE_MIN;
        loop {
            let mut has_begun = false;
            let end = follow_at(&client, endpoint, &key, || {
                has_begun = true;
                changes.send_modify(|number| *number = number.wrapping_add(1));
            })
            .await;
            if let Err(why) = end {
                tracing::debug!(why.why, "the watch of a record in etcd has ended");
                if why.kind == EtcdErrorKind::InvalidToken {
                    client.forget_token().await;
                }
            }
            pause = if has_begun {
                PAUSE_MIN
            } else {
                (pause * 2).min(PAUSE_MAX)
            };
            sleep(pause).await;
            endpoint = endpoint.wrapping_add(1);
        }
    };
    tokio::select! {
        () = changes.closed() => {}
        () = watching => {}
    }
}

/// Watches at one endpoint. Calls `changed` when the watch has begun, because the record may have
/// changed before, and after each change. For the same reason it needs no earlier revision, which
/// could have been compacted.
async fn follow_at(
    client: &EtcdClient,
    endpoint: usize,
    key: &[u8],
    mut changed: impl FnMut(),
) -> Result<(), EtcdError> {
    let deadline = Instant::now() + DEADLINE;
    let request = watch_request(key);
    let response = client
        .open_stream(endpoint, WATCH, &request, deadline)
        .await?;
    let mut messages = Messages::new(response);
    while let Some(message) = messages.next().await? {
        if let Some(error) = ErrorAnswer::parse(&message) {
            return Err(EtcdError::from_answer(&error, client.prefix()));
        }
        let message: Streamed<WatchResponse> =
            serde_json::from_slice(&message).map_err(|why| EtcdError::undecodable(&why))?;
        let message = message.result;
        if message.canceled {
            let reason = ErrorAnswer {
                text: message.cancel_reason,
                code: 0,
            };
            return Err(EtcdError::from_answer(&reason, client.prefix()));
        }
        if message.created || !message.events.is_empty() {
            changed();
        }
    }
    Ok(())
}

/// The lines of a stream, each of which is one message.
struct Messages {
    response: Response,
    received: Vec<u8>,
}

impl Messages {
    fn new(response: Response) -> Self {
        Self {
            response,
            received: Vec::new(),
        }
    }

    /// The next message; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, EtcdError> {
        let mut searched = 0;
        loop {
            let end = self.received[searched..].iter().position(|b| *b == b'\n');
            if let Some(end) = end {
                let rest = self.received.split_off(searched + end + 1);
                let message = std::mem::replace(&mut self.received, rest);
                if !message.trim_ascii().is_empty() {
                    return Ok(Some(message));
                }
                searched = 0;
                continue;
            }
            searched = self.received.len();
            let chunk = timeout(SILENCE_MAX, self.response.chunk())
                .await
                .map_err(|_| EtcdError::timeout(SILENCE_MAX.as_secs_f64()))?
                .map_err(|why| EtcdError::from_request(&why))?;
            let Some(chunk) = chunk else {
                return Ok(None);
            };
            if self.received.len() + chunk.len() > MESSAGE_BYTES_MAX {
                let why = format!("a message is larger than {} MiB", MESSAGE_BYTES_MAX >> 20);
                return Err(EtcdError::rejected(why, "remove large records"));
            }
            self.received.extend_from_slice(&chunk);
        }
    }
}
