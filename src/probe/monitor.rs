//! Sends requests to the service through the balancers, as its users do.
//!
//! A request is sent at every interval, even if earlier ones are still pending: a monitor that
//! waited for slow responses would send the fewest requests when they matter most. Each request
//! ends at its timeout, so at most timeout / interval are pending.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{CONNECTION, HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::http::{failure_verdict, innermost};
use crate::core::availability::{Answer, AvailabilityReport, MonitorSettings, Tally, version_in};
use crate::core::fleet::health::Verdict;
use crate::core::time::{Human, Time};
use crate::probe::route::Route;

/// The part of a response that is searched for the version.
const SEARCHED_BYTES_MAX: usize = 4 << 10;
/// Headers that often contain the version.
const VERSION_HEADERS: [&str; 2] = ["x-version", "server"];
const VERSION_CHARS_MAX: usize = 64;
/// If a request returns this long after its timeout, this machine was suspended, and the result
/// is unrelated to the service.
const SUSPEND_THRESHOLD: Duration = Duration::from_secs(1);

/// The controller's clock, for the times of the requests.
pub type NowFn = Arc<dyn Fn() -> Time + Send + Sync>;

/// Sends requests until it is dropped.
pub struct Monitor {
    shared: Arc<Shared>,
    running: Option<RunningTask>,
}

struct RunningTask {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

struct Shared {
    settings: MonitorSettings,
    clients: Vec<Client>,
    known_versions: BTreeSet<String>,
    now: NowFn,
    tally: Mutex<Tally>,
    changed: Notify,
}

impl Monitor {
    /// Starts to send requests. `known_versions` are the versions that a response may contain.
    ///
    /// # Errors
    /// If this machine cannot send requests at all.
    pub fn start(
        settings: MonitorSettings,
        known_versions: BTreeSet<String>,
        now: NowFn,
    ) -> Result<Self, String> {
        let client =
            |number| client(&settings.url, number % 2 == 0).map_err(|error| innermost(&error));
        let clients = (0..settings.connections)
            .map(client)
            .collect::<Result<_, _>>()?;
        let tally = Mutex::new(Tally::new(settings.max_failed_requests));
        let shared = Arc::new(Shared {
            settings,
            clients,
            known_versions,
            now,
            tally,
            changed: Notify::new(),
        });
        let mut monitor = Self {
            shared,
            running: None,
        };
        monitor.resume();
        Ok(monitor)
    }

    /// The requests and failures so far.
    pub fn report(&self) -> AvailabilityReport {
        self.shared.tally().report()
    }

    /// The report, if more requests have failed than allowed.
    pub fn breach(&self) -> Option<AvailabilityReport> {
        let tally = self.shared.tally();
        tally.is_breached().then(|| tally.report())
    }

    /// Waits for the first successful request, for at most this number of attempts.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub async fn wait_for_first_success(&self, attempts: u64) -> Result<(), String> {
        loop {
            let changed = self.shared.changed.notified();
            let AvailabilityReport {
                counted_from,
                early,
                unmade,
                trouble,
                ..
            } = self.report();
            if counted_from.is_some() {
                return Ok(());
            }
            if early + unmade >= attempts {
                return Err(trouble.unwrap_or_default());
            }
            changed.await;
        }
    }

    /// Stops after one more request with each client, which tests the final state, and waits until
    /// all pending requests have ended. This takes the timeout of one request at most.
    pub async fn finish(&mut self) {
        if let Some(RunningTask { stop, task }) = &mut self.running {
            let (unused, _) = oneshot::channel();
            // The task has already ended if it panicked.
            let _ = std::mem::replace(stop, unused).send(());
            let _ = task.await;
            self.running = None;
        }
    }

    /// Starts to send requests again after [`Self::finish`].
    pub fn resume(&mut self) {
        self.running.get_or_insert_with(|| {
            let (stop, stopped) = oneshot::channel();
            RunningTask {
                stop,
                task: tokio::spawn(send_requests(Arc::clone(&self.shared), stopped)),
            }
        });
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.task.abort();
        }
    }
}

fn client(url: &str, is_persistent: bool) -> Result<Client, reqwest::Error> {
    // reqwest needs a provider even without TLS. An error means that one is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    if !is_persistent {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .default_headers(headers)
        .user_agent(concat!("ship/", env!("CARGO_PKG_VERSION")));
    if !is_persistent {
        builder = builder.pool_max_idle_per_host(0);
    }
    if url.starts_with("http:") {
        // Loading the system's certificates would cost more than the requests.
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

async fn send_requests(shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut ticks = interval(shared.settings.interval);
    // Requests that this machine was too busy to send are not sent later in a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut pending = JoinSet::new();
    let send = |client: &Client| {
        let (shared, client) = (Arc::clone(&shared), client.clone());
        async move { shared.send_and_count(&client).await }
    };
    for client in shared.clients.iter().cycle() {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        while pending.try_join_next().is_some() {}
        pending.spawn(send(client));
    }
    // These requests test the final state, even if it was reached a moment ago.
    for client in &shared.clients {
        pending.spawn(send(client));
    }
    while pending.join_next().await.is_some() {}
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_and_count(&self, client: &Client) {
        let sent = (self.now)();
        let deadline = self.settings.timeout;
        let answer = timeout(deadline, self.send(client)).await;
        if (self.now)().since(sent) > deadline + SUSPEND_THRESHOLD {
            return;
        }
        let answer = answer.unwrap_or_else(|_| Answer::Failed {
            why: format!("no answer within {}", Human(deadline)),
        });
        self.tally().add(sent, answer);
        self.changed.notify_waiters();
    }

    async fn send(&self, client: &Client) -> Answer {
        let started = Instant::now();
        let mut response = match client.get(&self.settings.url).send().await {
            Ok(response) => response,
            Err(error) => {
                let route = Route::Direct {
                    address: self.settings.url.clone(),
                };
                return match failure_verdict(&error, &route) {
                    Verdict::Error(why) => Answer::NotSent { why },
                    Verdict::Fail(why) | Verdict::Pass(why) => Answer::Failed { why },
                };
            }
        };
        let status = response.status().as_u16();
        let mut body = Vec::new();
        // The whole body is read, because a truncated response counts as a failure.
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = SEARCHED_BYTES_MAX.saturating_sub(body.len());
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                }
                Ok(None) => break,
                Err(error) => {
                    return Answer::Failed {
                        why: format!("HTTP {status}, then {}", innermost(&error)),
                    };
                }
            }
        }
        let is_expected = self
            .settings
            .status
            .map_or((200..400).contains(&status), |expected| status == expected);
        if !is_expected {
            return Answer::Failed {
                why: format!("HTTP {status}"),
            };
        }
        Answer::Served {
            took: started.elapsed(),
            version: self.version(&response, &body),
        }
    }

    fn version(&self, response: &Response, body: &[u8]) -> Option<String> {
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        if let Some(name) = &self.settings.version_header {
            let named = header(name).map(|text| {
                text.trim()
                    .chars()
                    .take(VERSION_CHARS_MAX)
                    .collect::<String>()
            });
            return named.filter(|version| !version.is_empty());
        }
        let body = String::from_utf8_lossy(body);
        let texts = VERSION_HEADERS
            .into_iter()
            .filter_map(header)
            .chain([&*body]);
        texts
            .into_iter()
            .find_map(|text| version_in(text, &self.known_versions))
            .map(str::to_owned)
    }
}
