//! Why a download failed, and whether a retry may help.

use reqwest::StatusCode;

const UNREACHABLE_HINT: &str = "check that this machine can reach the server (curl -I), then retry";

#[derive(Debug)]
pub(super) struct FetchError {
    pub(super) why: String,
    pub(super) help: &'static str,
    /// Whether a retry may succeed.
    pub(super) is_retryable: bool,
}

impl FetchError {
    pub(super) fn retryable(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            help: UNREACHABLE_HINT,
            is_retryable: true,
        }
    }

    pub(super) fn permanent(why: impl Into<String>, help: &'static str) -> Self {
        Self {
            why: why.into(),
            help,
            is_retryable: false,
        }
    }

    /// For a response whose status is not a success.
    pub(super) fn status(status: StatusCode) -> Self {
        let why = format!("the server returned {status}");
        let is_retryable = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let help = match status.as_u16() {
            404 | 410 => "correct the URL in `source`, or publish this version first",
            401 | 403 => "check that this machine has access",
            _ => "retry later, or download it manually and point `source` at the file",
        };
        Self {
            why,
            help,
            is_retryable,
        }
    }

    /// Marks the error as retryable, because the next request will be a different one.
    pub(super) fn into_retryable(self) -> Self {
        Self {
            is_retryable: true,
            ..self
        }
    }

    /// Adds the number of attempts.
    pub(super) fn after_attempts(self, tries: u32) -> Self {
        if tries < 2 {
            self
        } else {
            Self {
                why: format!("{} ({tries} attempts)", self.why),
                ..self
            }
        }
    }
}

impl From<reqwest::Error> for FetchError {
    fn from(why: reqwest::Error) -> Self {
        let mut last: &dyn std::error::Error = &why;
        while let Some(source) = last.source() {
            last = source;
        }
        if why.is_timeout() {
            let help = "check that the server is up; the limits are 10s for connecting and 30s for each \
                        part of the response";
            return Self {
                why: "timed out".to_owned(),
                help,
                is_retryable: true,
            };
        }
        // Only the last cause, because reqwest's own message contains the whole URL.
        if why.is_redirect() || why.is_builder() {
            return Self::permanent(last.to_string(), "use the URL to which it redirects");
        }
        Self::retryable(last.to_string())
    }
}
