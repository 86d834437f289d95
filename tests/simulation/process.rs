//! A process of `ship` as the operating system sees it: it can be suspended, resumed, signalled and
//! killed at any instruction.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ship::core::ids::{Epoch, HostId};
use ship::core::time::Time;
use ship::engine::Interrupts;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError};

/// The panic payload that unwinds a process which is killed during a write.
struct Killed;

/// How the task of a process ended.
pub(crate) enum ProcessEnd<T> {
    Exited(T),
    Killed,
    Panicked,
}

impl<T> From<Result<T, JoinError>> for ProcessEnd<T> {
    fn from(ended: Result<T, JoinError>) -> Self {
        match ended {
            Ok(result) => Self::Exited(result),
            Err(error) if error.is_cancelled() => Self::Killed,
            Err(error) => {
                if error.into_panic().is::<Killed>() {
                    Self::Killed
                } else {
                    Self::Panicked
                }
            }
        }
    }
}

/// A process of `ship`.
pub(crate) struct Process {
    /// Its number, which is also its start time in clock ticks, by which a lease identifies it.
    pub(crate) number: u32,
    /// The machine on which it runs.
    pub(crate) machine: String,
    inner: Mutex<Inner>,
}

/// The longest time that a call of the store takes.
const STORE_LATENCY_MAX: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Inner {
    is_suspended: bool,
    is_killed: bool,
    wakers: Vec<Waker>,
    writes: u32,
    actions: u32,
    probes: u32,
    trap: Option<Trap>,
    store_down_until: Time,
    resumed_at: Option<Time>,
    actions_by_host: BTreeMap<HostId, u64>,
    epoch: Epoch,
    /// Kills the process.
    abort: Option<AbortHandle>,
    /// A signal that arrived before the process listened.
    early_signal: Option<&'static str>,
    listeners: Vec<mpsc::UnboundedSender<&'static str>>,
}

/// What happens at the n-th write, action or probe of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    KilledBeforeWrite(u32),
    KilledAfterWrite(u32),
    DiskFullAt(u32),
    /// The write takes effect, but its answer is lost.
    AnswerLostAt(u32),
    /// From this write on, the store cannot be reached for this long.
    StoreDownAt(u32, Duration),
    /// The action is sent, and arrives late.
    KilledAfterAction(u32),
    /// As above, but the process is suspended for this long instead of killed.
    SuspendedAfterAction(u32, Duration),
    /// The process is suspended for this long while a probe is in flight.
    SuspendedAfterProbe(u32, Duration),
}

impl Process {
    pub(crate) fn new(number: u32, machine: String) -> Self {
        Self {
            number,
            machine,
            inner: Mutex::default(),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().expect("the lock is not poisoned"))
    }

    // ── signals ──────────────────────────────────────────────────────────────────────────────────

    /// SIGSTOP.
    pub(crate) fn suspend(&self) {
        self.with(|inner| inner.is_suspended = true);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, now: Time) {
        let wakers = self.with(|inner| {
            (inner.is_suspended, inner.resumed_at) = (false, Some(now));
            std::mem::take(&mut inner.wakers)
        });
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll_running(&self, context: &mut Context<'_>) -> Poll<()> {
        self.with(|inner| {
            if inner.is_suspended {
                inner.wakers.push(context.waker().clone());
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
    }

    /// Waits while the process is suspended: meanwhile it neither sends nor receives.
    pub(crate) async fn until_running(&self) {
        poll_fn(|context| self.poll_running(context)).await;
    }

    /// Runs the code of the process, except while it is suspended.
    pub(crate) async fn run<T>(&self, code: impl Future<Output = T>) -> T {
        let mut code: Pin<Box<_>> = Box::pin(code);
        poll_fn(|context| match self.poll_running(context) {
            Poll::Ready(()) => code.as_mut().poll(context),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// SIGINT.
    pub(crate) fn interrupt(&self) {
        const SIGNAL: &str = "SIGINT";
        self.with(|inner| {
            if inner.listeners.is_empty() {
                inner.early_signal = Some(SIGNAL);
            }
            // Those that no longer listen get nothing.
            inner
                .listeners
                .retain(|listener| listener.send(SIGNAL).is_ok());
        });
    }

    /// A channel on which the process receives signals.
    pub(crate) fn listen(&self) -> Interrupts {
        let (listener, interrupts) = mpsc::unbounded_channel();
        self.with(|inner| {
            if let Some(signal) = inner.early_signal.take() {
                // The other end is still open.
                let _ = listener.send(signal);
            }
            inner.listeners.push(listener);
        });
        interrupts
    }

    // ── traps ────────────────────────────────────────────────────────────────────────────────────

    /// Sets what happens at a later write, action or probe.
    pub(crate) fn set_trap(&self, trap: Trap) {
        self.with(|inner| inner.trap = Some(trap));
    }

    /// Counts a write; returns what happens at it.
    pub(crate) fn count_write(&self) -> Option<Trap> {
        self.with(|inner| {
            inner.writes += 1;
            let now = inner.writes;
            inner.trap.filter(|trap| {
                matches!(
                    trap,
                    Trap::KilledBeforeWrite(n)
                        | Trap::KilledAfterWrite(n)
                        | Trap::DiskFullAt(n)
                        | Trap::AnswerLostAt(n)
                        | Trap::StoreDownAt(n, _) if *n == now
                )
            })
        })
    }

    /// Whether the answer to the next write is lost.
    pub(crate) fn loses_next_answer(&self) -> bool {
        self.with(|inner| inner.trap == Some(Trap::AnswerLostAt(inner.writes + 1)))
    }

    /// Lets the store be out of reach until a time.
    pub(crate) fn stop_store_until(&self, until: Time) {
        self.with(|inner| inner.store_down_until = until);
    }

    /// Whether the store was ever out of reach.
    pub(crate) fn was_store_down(&self) -> bool {
        self.with(|inner| inner.store_down_until > Time::default())
    }

    /// Whether what the process does now was decided before it was suspended.
    pub(crate) fn has_just_resumed(&self, now: Time) -> bool {
        let resumed_at = self.with(|inner| inner.resumed_at);
        resumed_at.is_some_and(|at| now.since(at) <= STORE_LATENCY_MAX)
    }

    pub(crate) fn is_store_down(&self, now: Time) -> bool {
        self.with(|inner| now < inner.store_down_until)
    }

    /// Counts an action; returns what happens at it.
    pub(crate) fn count_action(&self, host: &HostId) -> Option<Trap> {
        self.with(|inner| {
            *inner.actions_by_host.entry(host.clone()).or_default() += 1;
            inner.actions += 1;
            let now = inner.actions;
            let is_due =
                |trap: &Trap| matches!(trap, Trap::KilledAfterAction(n) | Trap::SuspendedAfterAction(n, _) if *n == now);
            inner.trap.filter(is_due)
        })
    }

    /// Counts a probe; returns what happens at it.
    pub(crate) fn count_probe(&self) -> Option<Trap> {
        self.with(|inner| {
            inner.probes += 1;
            let now = inner.probes;
            inner
                .trap
                .filter(|trap| matches!(trap, Trap::SuspendedAfterProbe(n, _) if *n == now))
        })
    }

    /// Sets how SIGKILL ends the process.
    pub(crate) fn set_abort(&self, abort: AbortHandle) {
        self.with(|inner| inner.abort = Some(abort));
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        self.with(|inner| inner.is_killed = true);
        if let Some(abort) = self.with(|inner| inner.abort.take()) {
            abort.abort();
        }
    }

    /// Whether it was killed: then it does nothing more, not even clean up.
    pub(crate) fn is_killed(&self) -> bool {
        std::thread::panicking() || self.with(|inner| inner.is_killed)
    }

    /// Ends the process between two instructions.
    pub(crate) fn die() -> ! {
        panic::resume_unwind(Box::new(Killed))
    }

    // ── what its connections know ────────────────────────────────────────────────────────────────

    pub(crate) fn actions_to(&self, host: &HostId) -> u64 {
        self.with(|inner| inner.actions_by_host.get(host).copied().unwrap_or(0))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.with(|inner| inner.epoch = epoch);
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.with(|inner| inner.epoch)
    }
}
