//! Makes requests to the service as its users do, through the balancers.
//!
//! A request goes out at every interval, whatever has become of those before: an asker that waited
//! for slow answers would ask least when it matters most. Each ends by its timeout, so no more than
//! timeout / interval are under way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{CONNECTION, HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::http::{failed, innermost};
use crate::core::availability::{Answer, AvailabilityReport, MonitorSettings, Tally, version_in};
use crate::core::fleet::health::Verdict;
use crate::core::time::{Human, Time};
use crate::probe::route::Route;

/// The part of an answer in which the version is searched.
const LOOKED_AT_BYTES: usize = 4 << 10;
/// Headers that often name the version.
const VERSION_HEADERS: [&str; 2] = ["x-version", "server"];
const VERSION_CHARS_MAX: usize = 64;
/// Who comes back from a request so long after its timeout has slept, and knows nothing of the
/// service.
const ASLEEP: Duration = Duration::from_secs(1);

/// The controller's clock, which dates the requests.
pub type Now = Arc<dyn Fn() -> Time + Send + Sync>;

/// Makes requests until it is dropped.
pub struct Monitor {
    shared: Arc<Shared>,
    asking: Option<Asking>,
}

struct Asking {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

struct Shared {
    probing: MonitorSettings,
    clients: Vec<Client>,
    known: BTreeSet<String>,
    now: Now,
    tally: Mutex<Tally>,
    news: Notify,
}

impl Monitor {
    /// Begins to ask. `known` are the versions that an answer may name.
    ///
    /// # Errors
    /// If this machine cannot ask at all.
    pub fn begin(
        probing: MonitorSettings,
        known: BTreeSet<String>,
        now: Now,
    ) -> Result<Self, String> {
        let client =
            |number| client(&probing.url, number % 2 == 0).map_err(|error| innermost(&error));
        let clients = (0..probing.connections)
            .map(client)
            .collect::<Result<_, _>>()?;
        let tally = Mutex::new(Tally::new(probing.max_failed_requests));
        let shared = Arc::new(Shared {
            probing,
            clients,
            known,
            now,
            tally,
            news: Notify::new(),
        });
        let mut asker = Self {
            shared,
            asking: None,
        };
        asker.go_on();
        Ok(asker)
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

    /// Waits for the first request that is answered as it should be; gives up when so many were
    /// not.
    ///
    /// # Errors
    /// Why the last of them was not.
    pub async fn first_answer(&self, attempts: u64) -> Result<(), String> {
        loop {
            let news = self.shared.news.notified();
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
            news.await;
        }
    }

    /// Makes one more request by each client, which meets what is there at last, and waits for the
    /// answers to all that are under way: no longer than the timeout of one.
    pub async fn settle(&mut self) {
        if let Some(Asking { stop, task }) = &mut self.asking {
            let (gone, _) = oneshot::channel();
            // It may have ended by itself, if it panicked.
            let _ = std::mem::replace(stop, gone).send(());
            let _ = task.await;
            self.asking = None;
        }
    }

    /// Makes requests again, if it had stopped.
    pub fn go_on(&mut self) {
        self.asking.get_or_insert_with(|| {
            let (stop, stopped) = oneshot::channel();
            Asking {
                stop,
                task: tokio::spawn(ask_on(Arc::clone(&self.shared), stopped)),
            }
        });
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.task.abort();
        }
    }
}

fn client(url: &str, keeps_its_connection: bool) -> Result<Client, reqwest::Error> {
    // reqwest wants a provider even where no TLS is spoken. An error says that there is one
    // already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    if !keeps_its_connection {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .default_headers(headers)
        .user_agent(concat!("ship/", env!("CARGO_PKG_VERSION")));
    if !keeps_its_connection {
        builder = builder.pool_max_idle_per_host(0);
    }
    if url.starts_with("http:") {
        // To load the system's certificates for nothing would cost more than the requests.
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

async fn ask_on(shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut ticks = interval(shared.probing.interval);
    // What this machine was too busy for is not made up for in one burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut under_way = JoinSet::new();
    let ask = |client: &Client| {
        let (shared, client) = (Arc::clone(&shared), client.clone());
        async move { shared.ask_once(&client).await }
    };
    for client in shared.clients.iter().cycle() {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        while under_way.try_join_next().is_some() {}
        under_way.spawn(ask(client));
    }
    // What is in place at last is asked too, however quickly that has come.
    for client in &shared.clients {
        under_way.spawn(ask(client));
    }
    while under_way.join_next().await.is_some() {}
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_once(&self, client: &Client) {
        let asked = (self.now)();
        let deadline = self.probing.timeout;
        let answer = timeout(deadline, self.ask(client)).await;
        if (self.now)().since(asked) > deadline + ASLEEP {
            return;
        }
        let answer = answer.unwrap_or_else(|_| Answer::Lost {
            why: format!("no answer within {}", Human(deadline)),
        });
        self.tally().take(asked, answer);
        self.news.notify_waiters();
    }

    async fn ask(&self, client: &Client) -> Answer {
        let begun = Instant::now();
        let mut response = match client.get(&self.probing.url).send().await {
            Ok(response) => response,
            Err(error) => {
                let route = Route::Direct {
                    address: self.probing.url.clone(),
                };
                return match failed(&error, &route) {
                    Verdict::Error(why) => Answer::Unmade { why },
                    Verdict::Fail(why) | Verdict::Pass(why) => Answer::Lost { why },
                };
            }
        };
        let status = response.status().as_u16();
        let mut body = Vec::new();
        // To its end: an answer that breaks off is none.
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = LOOKED_AT_BYTES.saturating_sub(body.len());
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                }
                Ok(None) => break,
                Err(error) => {
                    return Answer::Lost {
                        why: format!("HTTP {status}, then {}", innermost(&error)),
                    };
                }
            }
        }
        let is_right = self
            .probing
            .status
            .map_or((200..400).contains(&status), |right| status == right);
        if !is_right {
            return Answer::Lost {
                why: format!("HTTP {status}"),
            };
        }
        Answer::Served {
            took: begun.elapsed(),
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
        if let Some(name) = &self.probing.version_header {
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
            .find_map(|text| version_in(text, &self.known))
            .map(str::to_owned)
    }
}
