//! A call of a verb: its result and its output.

use std::sync::Arc;
use std::time::Duration;

use ship::app::conclusion::Conclusion;
use ship::app::error::Error;
use ship::app::exit::Exit;
use ship::core::rollout::failure::Outcome;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::environment::Screen;
use crate::process::Process;
use crate::world::World;

/// Interval between two reads of the screen.
const SCREEN_INTERVAL: Duration = Duration::from_millis(10);
/// The longest wait, in simulated time.
const DEADLINE: Duration = Duration::from_mins(5);
/// The time without a heartbeat after which a lease has expired.
pub(super) const LEASE_EXPIRED: Duration = Duration::from_secs(31);

/// A verb that has ended.
#[derive(Debug)]
pub(crate) struct VerbRun<T> {
    result: Result<T, Error>,
    /// Everything that was printed: progress, notices, the error.
    pub(crate) screen: String,
}

impl<T> VerbRun<T> {
    pub(crate) fn new(result: Result<T, Error>, mut screen: String) -> Self {
        if let Err(error) = &result {
            screen = format!("{screen}error: {error}\n");
        }
        Self { result, screen }
    }

    /// The result, which must not be an error.
    #[track_caller]
    pub(crate) fn value(self) -> T {
        let Self { result, screen } = self;
        result.unwrap_or_else(|_| panic!("{screen}"))
    }

    /// Asserts that the verb was refused with this exit code and this message.
    #[track_caller]
    pub(crate) fn assert_refused(&self, exit: Exit, words: &str) {
        let error = self.result.as_ref().err();
        let error = error.unwrap_or_else(|| panic!("not refused:\n{}", self.screen));
        assert_eq!((error.exit(), error.to_string().as_str()), (exit, words));
    }

    /// Asserts that all of these texts were printed.
    #[track_caller]
    pub(crate) fn assert_printed(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.screen.contains(word),
                "no {word:?} in:\n{}",
                self.screen
            );
        }
    }
}

impl VerbRun<Exit> {
    /// The exit code, also of an error.
    pub(crate) fn into_exit(self) -> Exit {
        self.result.unwrap_or_else(|error| error.exit())
    }
}

impl VerbRun<Conclusion> {
    /// The exit code of the process.
    pub(crate) fn exit(&self) -> Exit {
        match &self.result {
            Ok(conclusion) => conclusion.exit(),
            Err(error) => error.exit(),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, exit: Exit) -> Self {
        assert_eq!(self.exit(), exit, "{:?}\n{}", self.result, self.screen);
        self
    }

    /// Asserts that there was a rollout and that it succeeded.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        let is_success = matches!(
            &self.result,
            Ok(Conclusion::Ended {
                outcome: Outcome::Succeeded,
                exit: Exit::Done,
                ..
            })
        );
        assert!(is_success, "{:?}\n{}", self.result, self.screen);
        self
    }

    /// Asserts that there was nothing to do.
    #[track_caller]
    pub(crate) fn does_nothing(self) {
        let is_nothing = matches!(&self.result, Ok(Conclusion::NothingToDo { .. }));
        assert!(is_nothing, "{:?}\n{}", self.result, self.screen);
    }

    /// Asserts that the deploy was skipped, and the reason.
    #[track_caller]
    pub(crate) fn assert_skipped(&self, words: &str) {
        let Ok(Conclusion::Skipped { why, .. }) = &self.result else {
            panic!("{:?}\n{}", self.result, self.screen);
        };
        assert!(why.contains(words), "no {words:?} in {why:?}");
    }
}

/// A verb that is running in its own process on another machine.
pub(crate) struct RunningVerb {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
    pub(super) screen: Screen,
    pub(super) end: JoinHandle<Result<Conclusion, Error>>,
}

impl RunningVerb {
    /// Waits until this text was printed.
    pub(crate) async fn await_words(&self, words: &str) {
        let printed = async {
            while !self.screen.text().contains(words) {
                sleep(SCREEN_INTERVAL).await;
            }
        };
        let printed = timeout(DEADLINE, printed).await;
        assert!(printed.is_ok(), "no {words:?} in:\n{}", self.screen.text());
    }

    /// Waits until the verb has ended.
    pub(crate) async fn wait(self) -> VerbRun<Conclusion> {
        let ended = timeout(DEADLINE, self.end).await;
        let Ok(ended) = ended else {
            panic!("the verb does not end:\n{}", self.screen.text());
        };
        VerbRun::new(ended.expect("the verb does not panic"), self.screen.text())
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(&self) {
        self.process.kill();
        self.world
            .lock()
            .checker
            .on_controller_exited(self.process.number);
    }

    /// Kills the process with SIGKILL and waits until its lease has expired.
    pub(crate) async fn kill_and_expire(self) {
        self.kill();
        sleep(LEASE_EXPIRED).await;
    }
}
