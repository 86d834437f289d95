//! A service under observation: every answer that is asked of it, and every process that it runs.

use super::probe_client::{Answers, Counter, Monitor};
use super::project::PAGE;

/// The number of answers before a test changes the service.
const FIRST_ANSWERS: usize = 20;

/// Makes requests to a service and counts its processes until it is ended.
pub struct Traffic {
    asker: Monitor,
    counter: Counter,
}

/// What the clients observed during a change.
pub struct Served {
    pub answers: Answers,
    /// Answered requests.
    pub answered: usize,
    /// Requests that failed within the life of an instance.
    pub lost: Vec<String>,
    /// The fewest places that answered at one time.
    pub fewest: usize,
    /// The most processes that ran at one time.
    pub most: usize,
}

impl Traffic {
    /// Starts requests to places, each `address:port`; returns when answers have arrived.
    pub fn begin<S: Into<String>>(places: impl IntoIterator<Item = S>) -> Self {
        let traffic = Self {
            asker: Monitor::start(places),
            counter: Counter::start(PAGE),
        };
        traffic.asker.await_answers(FIRST_ANSWERS);
        traffic
    }

    /// Stops the requests. The fewest are counted from when `expected` places answered.
    pub fn end(self, expected: usize) -> Served {
        let (answers, most) = (self.asker.stop(), self.counter.most());
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
    /// Panics unless no answer was lost, and never fewer served than the floor or more ran than the
    /// ceiling.
    #[track_caller]
    pub fn kept(self, floor: usize, ceiling: usize) -> Self {
        assert_eq!(self.lost, Vec::<String>::new(), "answers were lost");
        assert!(
            self.fewest >= floor,
            "only {} answered for a while, the floor is {floor}",
            self.fewest
        );
        assert!(
            self.most <= ceiling,
            "{} ran at one time, the ceiling is {ceiling}",
            self.most
        );
        self
    }
}
