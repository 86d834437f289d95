//! Why a download failed, and whether trying again may help.

use reqwest::StatusCode;

const UNREACHED: &str = "see whether the server can be reached from here (curl -I), then try again";

#[derive(Debug)]
pub(super) struct FetchError {
    pub(super) why: String,
    pub(super) help: &'static str,
    /// Whether a retry may succeed.
    pub(super) is_passing: bool,
}

impl FetchError {
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            help: UNREACHED,
            is_passing: true,
        }
    }

    pub(super) fn lasting(why: impl Into<String>, help: &'static str) -> Self {
        Self {
            why: why.into(),
            help,
            is_passing: false,
        }
    }

    /// For a response whose status is not a success.
    pub(super) fn status(status: StatusCode) -> Self {
        let why = format!("the server answers {status}");
        let is_passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let help = match status.as_u16() {
            404 | 410 => "correct the URL in `source`, or publish this version first",
            401 | 403 => "see that this machine may read it",
            _ => "try again later, or download it by hand and point `source` at the file",
        };
        Self {
            why,
            help,
            is_passing,
        }
    }

    /// Marks the trouble as one that another request may avoid.
    pub(super) fn passes(self) -> Self {
        Self {
            is_passing: true,
            ..self
        }
    }

    /// Adds how often the request was tried.
    pub(super) fn after(self, tries: u32) -> Self {
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
            let help = "see whether the server is up and near; connecting may take 10s, and each \
                        piece 30s";
            return Self {
                why: "it took too long".to_owned(),
                help,
                is_passing: true,
            };
        }
        // Only its last cause: reqwest's own text would show the whole URL.
        if why.is_redirect() || why.is_builder() {
            return Self::lasting(
                last.to_string(),
                "give the URL to which it leads in the end",
            );
        }
        Self::passing(last.to_string())
    }
}
