//! One process of `ship` as its machine sees it: it can be stopped, continued, signalled and killed
//! at any instruction.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ship::core::ids::{Epoch, HostId};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What unwinds a process that is killed in the middle of a write.
pub(crate) struct Killed;

/// One process.
pub(crate) struct Process {
    /// Which; also its start in clock ticks, by which a lease knows it.
    pub(crate) number: u32,
    /// The machine that it runs on.
    pub(crate) machine: String,
    signals: mpsc::UnboundedSender<&'static str>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    is_stopped: bool,
    is_killed: bool,
    waiting: Vec<Waker>,
    writes: u32,
    sent: u32,
    asked: u32,
    trap: Option<Trap>,
    orders: BTreeMap<HostId, u64>,
    epoch: Epoch,
    /// How to kill it from outside.
    abort: Option<AbortHandle>,
}

/// What happens when a process comes to its n-th write to the store, order, or question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    KilledBeforeWrite(u32),
    KilledAfterWrite(u32),
    DiskFullAt(u32),
    /// The order goes out, and is late.
    KilledAfterOrder(u32),
    /// As above, but it is only stopped, for so long.
    StoppedAfterOrder(u32, Duration),
    /// It is stopped for so long while a question is on its way.
    StoppedAfterQuestion(u32, Duration),
}

impl Process {
    /// A process, and where its signals arrive.
    pub(crate) fn new(
        number: u32,
        machine: String,
    ) -> (Self, mpsc::UnboundedReceiver<&'static str>) {
        let (signals, interrupts) = mpsc::unbounded_channel();
        (
            Self {
                number,
                machine,
                signals,
                inner: Mutex::default(),
            },
            interrupts,
        )
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().expect("nobody panics with a process"))
    }

    // ── stopping and continuing ──────────────────────────────────────────────────────────────────

    /// SIGSTOP.
    pub(crate) fn stop(&self) {
        self.with(|inner| inner.is_stopped = true);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        let waiting = self.with(|inner| {
            inner.is_stopped = false;
            std::mem::take(&mut inner.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll_runs(&self, context: &mut Context<'_>) -> Poll<()> {
        self.with(|inner| {
            if inner.is_stopped {
                inner.waiting.push(context.waker().clone());
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
    }

    /// Waits while the process is stopped: it neither sends nor hears anything meanwhile.
    pub(crate) async fn runs(&self) {
        poll_fn(|context| self.poll_runs(context)).await;
    }

    /// Runs the process' own code, as long as it is not stopped.
    pub(crate) async fn run<T>(&self, code: impl Future<Output = T>) -> T {
        let mut code: Pin<Box<_>> = Box::pin(code);
        poll_fn(|context| match self.poll_runs(context) {
            Poll::Ready(()) => code.as_mut().poll(context),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// SIGINT.
    pub(crate) fn interrupt(&self) {
        // It may have ended.
        let _ = self.signals.send("SIGINT");
    }

    // ── writing ──────────────────────────────────────────────────────────────────────────────────

    /// Something will happen at a write or an order.
    pub(crate) fn set_trap(&self, trap: Trap) {
        self.with(|inner| inner.trap = Some(trap));
    }

    /// Counts a write; says what happens at it.
    pub(crate) fn next_write(&self) -> Option<Trap> {
        self.with(|inner| {
            inner.writes += 1;
            let now = inner.writes;
            inner.trap.filter(|trap| {
                matches!(trap, Trap::KilledBeforeWrite(n) | Trap::KilledAfterWrite(n) | Trap::DiskFullAt(n) if *n == now)
            })
        })
    }

    /// Counts an order; says what happens at it.
    pub(crate) fn next_order(&self, host: &HostId) -> Option<Trap> {
        self.with(|inner| {
            *inner.orders.entry(host.clone()).or_default() += 1;
            inner.sent += 1;
            let now = inner.sent;
            let is_it =
                |trap: &Trap| matches!(trap, Trap::KilledAfterOrder(n) | Trap::StoppedAfterOrder(n, _) if *n == now);
            inner.trap.filter(is_it)
        })
    }

    /// Counts a question; says what happens at it.
    pub(crate) fn next_question(&self) -> Option<Trap> {
        self.with(|inner| {
            inner.asked += 1;
            let now = inner.asked;
            inner
                .trap
                .filter(|trap| matches!(trap, Trap::StoppedAfterQuestion(n, _) if *n == now))
        })
    }

    /// SIGKILL reaches it like this.
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

    /// Whether it was killed: it does nothing more, not even tidy up.
    pub(crate) fn is_killed(&self) -> bool {
        std::thread::panicking() || self.with(|inner| inner.is_killed)
    }

    /// The process ends here, between two instructions.
    pub(crate) fn die() -> ! {
        panic::resume_unwind(Box::new(Killed))
    }

    // ── what its hands remember ──────────────────────────────────────────────────────────────────

    pub(crate) fn orders_to(&self, host: &HostId) -> u64 {
        self.with(|inner| inner.orders.get(host).copied().unwrap_or(0))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.with(|inner| inner.epoch = epoch);
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.with(|inner| inner.epoch)
    }
}
