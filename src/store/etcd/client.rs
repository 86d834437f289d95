//! Sends requests to the endpoints of etcd.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap};
use reqwest::{Client, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{EtcdError, EtcdErrorKind};
use super::messages::{AUTHENTICATE, ByteRange, ErrorAnswer, TokenResponse};
use super::tls::http_client;
use super::url::{EtcdLogin, EtcdUrl};
use crate::core::time::Time;
use crate::store::database::KeyRange;

/// The time limit of one operation, with its attempts at all endpoints.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// An endpoint has at least this time to answer before the next one is tried.
const ATTEMPT_MIN: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(100);
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// With this header, a member that has no leader rejects a request, and ends a stream.
const REQUIRE_LEADER: (&str, &str) = ("grpc-metadata-hasleader", "true");

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    /// Executing it twice is harmless.
    Allowed,
    /// Only if it was certainly not executed.
    Forbidden,
}

/// The endpoints of a cluster, and the way to authenticate.
pub(super) struct EtcdClient {
    http: Client,
    scheme: &'static str,
    endpoints: Vec<String>,
    /// The endpoint to begin with: the last one that worked, or the one after the last that failed.
    first: AtomicUsize,
    login: Option<EtcdLogin>,
    /// `None` if it must be requested. It is shared by all members.
    token: Mutex<Option<Token>>,
    prefix: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Token {
    Valid(String),
    /// etcd runs without authentication.
    NotNeeded,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct EtcdAnswer {
    pub(super) body: Vec<u8>,
    /// When the endpoint answered, by its clock: etcd's own messages have no time. In whole seconds.
    pub(super) date: Option<Time>,
}

impl EtcdAnswer {
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, EtcdError> {
        serde_json::from_slice(&self.body).map_err(|why| EtcdError::undecodable(&why))
    }
}

// Neither the password nor the token may appear in output.
impl fmt::Debug for EtcdClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdClient")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl EtcdClient {
    pub(super) fn new(url: EtcdUrl) -> Result<Self, EtcdError> {
        let http = http_client(url.tls.as_ref(), attempt_time(url.endpoints.len()))?;
        Ok(Self {
            http,
            scheme: if url.tls.is_some() { "https" } else { "http" },
            endpoints: url.endpoints,
            first: AtomicUsize::new(0),
            login: url.login,
            token: Mutex::new(None),
            prefix: url.prefix,
        })
    }

    /// The beginning of all keys, without the slash after it.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of a record in etcd.
    pub(super) fn key(&self, key: &str) -> Vec<u8> {
        format!("{}/{key}", self.prefix).into_bytes()
    }

    pub(super) fn range(&self, range: &KeyRange) -> ByteRange {
        match range {
            KeyRange::Key(key) => ByteRange::key(self.key(key)),
            KeyRange::Prefix(prefix) => ByteRange::prefix(self.key(prefix)),
        }
    }

    /// Makes a request at the first endpoint that can execute it.
    ///
    /// # Errors
    /// If no endpoint executes it before the deadline, or if it is unknown whether one did and the
    /// request may not be repeated.
    pub(super) async fn call(
        &self,
        path: &str,
        request: &Value,
        repetition: Repetition,
        deadline: Instant,
    ) -> Result<EtcdAnswer, EtcdError> {
        let request = request.to_string();
        loop {
            let mut failures = Vec::new();
            let first = self.first.load(Ordering::Relaxed);
            for index in (0..self.endpoints.len()).map(|offset| first.wrapping_add(offset)) {
                let now = Instant::now();
                if now >= deadline {
                    break;
                }
                let until = match repetition {
                    Repetition::Allowed => deadline.min(now + attempt_time(self.endpoints.len())),
                    Repetition::Forbidden => deadline,
                };
                let why = match self.attempt(index, path, &request, until).await {
                    Ok(answer) => {
                        self.first.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(why) => why,
                };
                let is_next_allowed = match why.kind {
                    EtcdErrorKind::NotExecuted | EtcdErrorKind::RejectedEndpoint => true,
                    EtcdErrorKind::Unavailable => repetition == Repetition::Allowed,
                    EtcdErrorKind::Rejected
                    | EtcdErrorKind::InvalidToken
                    | EtcdErrorKind::LeaseNotFound
                    | EtcdErrorKind::Compacted => return Err(why),
                };
                // The next request begins elsewhere.
                self.first.store(index.wrapping_add(1), Ordering::Relaxed);
                failures.push((index, why));
                if !is_next_allowed {
                    return Err(self.summary(failures));
                }
            }
            // If no endpoint was reached, waiting for one is up to the caller.
            let is_temporary = failures
                .iter()
                .any(|(_, why)| why.kind == EtcdErrorKind::Unavailable || is_leaderless(why));
            // The last attempt, too, has some time.
            let is_late = Instant::now() + 4 * PAUSE >= deadline;
            if repetition == Repetition::Forbidden || !is_temporary || is_late {
                return Err(self.summary(failures));
            }
            sleep(PAUSE).await;
        }
    }

    /// Opens a stream of messages at an endpoint. The response has arrived, but no message yet.
    pub(super) async fn open_stream(
        &self,
        index: usize,
        path: &str,
        request: &Value,
        deadline: Instant,
    ) -> Result<Response, EtcdError> {
        let token = self.token(index, deadline).await?;
        self.send(index, path, &request.to_string(), token, deadline)
            .await
    }

    /// The endpoint at which a stream should begin.
    pub(super) fn first_endpoint(&self) -> usize {
        self.first.load(Ordering::Relaxed)
    }

    /// Requests another token before the next request.
    pub(super) async fn forget_token(&self) {
        *self.token.lock().await = None;
    }

    /// Makes a request at one endpoint, again with a new token if the token is not valid.
    async fn attempt(
        &self,
        index: usize,
        path: &str,
        request: &str,
        deadline: Instant,
    ) -> Result<EtcdAnswer, EtcdError> {
        let token = self.token(index, deadline).await?;
        let first = self
            .answer(index, path, request, token.clone(), deadline)
            .await;
        let is_token_needed = match &first {
            Err(why) if why.kind == EtcdErrorKind::InvalidToken => true,
            // Authentication was enabled since.
            Err(why) => token == Some(Token::NotNeeded) && why.why.contains("user name is empty"),
            Ok(_) => false,
        };
        if !is_token_needed || self.login.is_none() {
            return first;
        }
        {
            let mut known = self.token.lock().await;
            // Unless another request has obtained a new one in the meantime.
            if *known == token {
                *known = None;
            }
        }
        let token = self.token(index, deadline).await?;
        self.answer(index, path, request, token, deadline).await
    }

    /// The token for requests; `None` without a user. Errors mean that the request itself was not
    /// sent.
    async fn token(&self, index: usize, deadline: Instant) -> Result<Option<Token>, EtcdError> {
        let Some(login) = &self.login else {
            return Ok(None);
        };
        // Held during the request, so that there is only one of them.
        let mut known = self.token.lock().await;
        if let Some(token) = &*known {
            return Ok(Some(token.clone()));
        }
        let request = json!({ "name": login.user, "password": login.password }).to_string();
        let answer = self
            .answer(index, AUTHENTICATE, &request, None, deadline)
            .await;
        let token = match answer {
            Ok(answer) => Token::Valid(answer.decode::<TokenResponse>()?.token),
            Err(why) if why.why.contains("authentication is not enabled") => Token::NotNeeded,
            Err(why) if why.kind == EtcdErrorKind::Unavailable => {
                return Err(EtcdError::new(
                    EtcdErrorKind::NotExecuted,
                    why.why,
                    why.hint,
                ));
            }
            Err(why) => return Err(why),
        };
        *known = Some(token.clone());
        Ok(Some(token))
    }

    async fn answer(
        &self,
        index: usize,
        path: &str,
        request: &str,
        token: Option<Token>,
        deadline: Instant,
    ) -> Result<EtcdAnswer, EtcdError> {
        let response = self.send(index, path, request, token, deadline).await?;
        let date = date(response.headers());
        let began = Instant::now();
        let body = timeout_at(deadline, read_body(response))
            .await
            .map_err(|_| EtcdError::timeout(began.elapsed().as_secs_f64()))??;
        // A stream reports its error in a successful response.
        let error = body
            .starts_with(b"{\"error\"")
            .then(|| ErrorAnswer::parse(&body));
        match error.flatten() {
            Some(error) => Err(EtcdError::from_answer(&error, &self.prefix)),
            None => Ok(EtcdAnswer { body, date }),
        }
    }

    async fn send(
        &self,
        index: usize,
        path: &str,
        request: &str,
        token: Option<Token>,
        deadline: Instant,
    ) -> Result<Response, EtcdError> {
        let url = format!("{}://{}{path}", self.scheme, self.endpoint(index));
        let (name, value) = REQUIRE_LEADER;
        let mut post = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(name, value)
            .body(request.to_owned());
        if let Some(Token::Valid(token)) = token {
            post = post.header(AUTHORIZATION, token);
        }
        let began = Instant::now();
        let response = timeout_at(deadline, post.send())
            .await
            .map_err(|_| EtcdError::timeout(began.elapsed().as_secs_f64()))?
            .map_err(|why| EtcdError::from_request(&why))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = timeout_at(deadline, read_body(response))
            .await
            .map_err(|_| EtcdError::timeout(began.elapsed().as_secs_f64()))??;
        Err(match ErrorAnswer::parse(&body) {
            Some(error) => EtcdError::from_answer(&error, &self.prefix),
            None => EtcdError::from_status(status, &body),
        })
    }

    fn endpoint(&self, index: usize) -> &str {
        let endpoints = &self.endpoints;
        let index = index.checked_rem(endpoints.len()).unwrap_or(0);
        endpoints.get(index).map_or("", String::as_str)
    }

    /// One error for the failures at several endpoints, with the hint of the most telling one.
    fn summary(&self, failures: Vec<(usize, EtcdError)>) -> EtcdError {
        let why: Vec<String> = failures
            .iter()
            .map(|(index, why)| format!("{}: {}", self.endpoint(*index), why.why))
            .collect();
        let rank = |why: &EtcdError| match why.kind {
            // Above all, because the request may have been executed.
            EtcdErrorKind::Unavailable => 4,
            EtcdErrorKind::RejectedEndpoint => 3,
            // A member without a leader says more than one that has ended.
            _ if is_leaderless(why) => 2,
            _ => 1,
        };
        let worst = failures.into_iter().max_by_key(|(_, why)| rank(why));
        match worst {
            Some((_, worst)) => EtcdError::new(worst.kind, why.join("; "), worst.hint),
            None => EtcdError::timeout(DEADLINE.as_secs_f64()),
        }
    }
}

/// The time that one of several endpoints has to answer.
fn attempt_time(endpoints: usize) -> Duration {
    let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX).max(1);
    (DEADLINE / endpoints).max(ATTEMPT_MIN)
}

/// Whether a member reported that the cluster has no leader. The next election ends that state.
fn is_leaderless(why: &EtcdError) -> bool {
    why.kind == EtcdErrorKind::NotExecuted && why.why.contains("no leader")
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, EtcdError> {
    let mut body = Vec::new();
    let failed = |why: reqwest::Error| EtcdError::from_request(&why);
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let why = format!("the answer is larger than {} MiB", ANSWER_BYTES_MAX >> 20);
            return Err(EtcdError::rejected(why, "remove old records"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn date(headers: &HeaderMap) -> Option<Time> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let milliseconds = date.timestamp().as_millisecond();
    u64::try_from(milliseconds).ok().map(Time)
}
