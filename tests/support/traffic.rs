//! A service under observation: the answers to all requests, and the number of its processes.

use super::probe_client::{Answers, Counter, Monitor};
use super::project::PAGE;

/// The number of answers before a test changes the service.
const FIRST_ANSWERS: usize = 20;

/// Makes requests to a service and counts its processes until it is stopped.
pub struct Traffic {
    monitor: Monitor,
    counter: Counter,
}

/// What the clients observed during a change.
pub struct Served {
    pub answers: Answers,
    /// Answered requests.
    pub answered: usize,
    /// Requests that failed although the same instance answered before and after.
    pub lost: Vec<String>,
    /// The fewest endpoints that answered at one time.
    pub fewest: usize,
    /// The most processes that ran at one time.
    pub most: usize,
}

impl Traffic {
    /// Starts requests to endpoints, each `address:port`; returns when some answers have arrived.
    pub fn begin<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Self {
        let traffic = Self {
            monitor: Monitor::start(endpoints),
            counter: Counter::start(PAGE),
        };
        traffic.monitor.await_answers(FIRST_ANSWERS);
        traffic
    }

    /// Stops the requests. `fewest` counts from when `expected` endpoints answered.
    pub fn end(self, expected: usize) -> Served {
        let (answers, most) = (self.monitor.stop(), self.counter.most());
        Served {
            answered: answers.count(),
            lost: answers.failures(),
            fewest: answers.fewest(expected),
            most,
            answers,
        }
    }
}

impl Served {
    /// Panics if an answer was lost, too few endpoints answered, or too many processes ran.
    #[track_caller]
    pub fn assert_within(self, min_answering: usize, max_running: usize) -> Self {
        assert_eq!(self.lost, Vec::<String>::new(), "lost answers");
        assert!(
            self.fewest >= min_answering,
            "only {} answered at one time, expected at least {min_answering}",
            self.fewest
        );
        assert!(
            self.most <= max_running,
            "{} ran at one time, expected at most {max_running}",
            self.most
        );
        self
    }
}
