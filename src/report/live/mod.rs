//! The live screen: one frame that is redrawn in place, for all services that roll out.

use std::io::{Stderr, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::phrases;
use crate::core::ids::Slot;
use crate::core::journal::status::Status;
use crate::core::rollout::event::Entry;
use crate::core::stack::{Deployment, StackRun};
use crate::core::time::Time;
use crate::report::reporter::{DeploymentReporter, Reporter, ReporterSetup};
use painter::{Painter, TerminalSize, terminal_size};
use screen::Screen;
use stack_frame::ShownDeployment;

mod capacity_bar;
mod content;
mod frame;
mod instances;
mod line;
mod member_view;
mod painter;
mod screen;
mod service_frame;
mod service_lines;
mod service_part;
mod service_view;
mod stack_frame;

mod style;

#[cfg(test)]
mod tests;

/// The live screen of a terminal, which the reporters of all services share. Nothing is drawn before
/// the first rollout begins.
pub struct LiveScreen<W: Write = Stderr>(Arc<Mutex<Screen<W>>>);

impl LiveScreen {
    /// The terminal of this process.
    pub fn stderr() -> Self {
        let out = std::io::stderr();
        let colour = anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never;
        Self::new(out, colour, Box::new(terminal_size))
    }
}

impl<W: Write> LiveScreen<W> {
    fn new(out: W, colour: bool, size: Box<dyn Fn() -> TerminalSize + Send>) -> Self {
        let screen = Screen::new(Painter::new(out, colour, size));
        Self(Arc::new(Mutex::new(screen)))
    }

    /// The reporter of the next rollout. The label in `setup` distinguishes several services.
    pub fn reporter(&self, setup: ReporterSetup) -> Live<W> {
        let label = setup.service.as_ref();
        let service = label.map_or_else(String::new, |label| label.name.clone());
        self.lock().add(service.clone(), setup);
        Live {
            screen: self.clone(),
            service,
        }
    }

    /// Prints a line above the screen, or at once if no rollout is shown.
    pub fn note(&self, text: &str) {
        self.lock().note(text);
    }

    /// A screen is as good after a panic as before.
    fn lock(&self) -> MutexGuard<'_, Screen<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> Clone for LiveScreen<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write + Send> DeploymentReporter for LiveScreen<W> {
    fn progress(&self, fleet: &str, deployment: &Deployment, run: &StackRun) {
        self.lock().show(ShownDeployment {
            fleet: fleet.to_owned(),
            deployment: deployment.clone(),
            run: run.clone(),
        });
    }

    fn finish(&self) {
        self.lock().finish();
    }
}

/// Shows the rollout of a service on a live screen.
pub struct Live<W: Write> {
    screen: LiveScreen<W>,
    /// The name of the service among those of the screen.
    service: String,
}

impl<W: Write + Send> Reporter for Live<W> {
    fn event(&mut self, entry: &Entry, status: &Status) {
        self.screen.lock().event(&self.service, entry, status);
    }

    fn tick(&mut self, status: &Status, now: Time) {
        self.screen.lock().tick(&self.service, status, now);
    }

    fn answer(&mut self, slot: &Slot, now: Time, text: &str) {
        self.screen.lock().answer(&self.service, slot, now, text);
    }

    fn store_lost(&mut self, at: Time, error: &str, wait: Duration) {
        let message = phrases::store_lost(at, error, wait);
        self.screen.lock().message(&self.service, &message);
    }

    fn store_recovered(&mut self, at: Time, after: Duration) {
        let message = phrases::store_recovered(at, after);
        self.screen.lock().message(&self.service, &message);
    }

    fn finish(&mut self) {
        self.screen.lock().leave();
    }
}

impl<W: Write> Drop for Live<W> {
    fn drop(&mut self) {
        self.screen.lock().leave();
    }
}
