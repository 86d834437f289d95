//! The terminal: prints notices and progress, and listens for Ctrl-C.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::shared_args::{DisplayArgs, InventoryArg, OutputFormat};
use crate::app::control_machine::{Console, ControlMachine};
use crate::app::environment::Environment;
use crate::app::error::{Error, Internal};
use crate::app::notice::Notice;
use crate::engine::Interrupts;
use crate::report::{self, LiveScreen, Reporter, ReporterSetup, ServiceLabel, Tee};
use crate::system::password_prompt::{PromptError, read_password};

/// Shows a rollout in the requested format.
pub(super) struct Terminal {
    display: DisplayArgs,
    /// The service, if several are shown together.
    service: Option<ServiceLabel>,
    screen: LiveScreen,
}

impl Terminal {
    /// Shows the only service.
    pub(super) fn alone(display: DisplayArgs) -> Self {
        Self {
            display,
            service: None,
            screen: LiveScreen::stderr(),
        }
    }

    /// Shows one of several services, which share a screen.
    pub(super) fn of_service(
        display: DisplayArgs,
        service: ServiceLabel,
        screen: LiveScreen,
    ) -> Self {
        Self {
            display,
            service: Some(service),
            screen,
        }
    }
}

/// The environment of a verb that rolls out.
pub(super) fn environment(inventory: InventoryArg, display: DisplayArgs) -> Arc<dyn Environment> {
    Arc::new(machine(inventory, display))
}

/// This machine, for a verb that does not roll out.
pub(super) fn quiet_machine(inventory: InventoryArg) -> ControlMachine {
    machine(inventory, DisplayArgs::default())
}

fn machine(inventory: InventoryArg, display: DisplayArgs) -> ControlMachine {
    let console = Arc::new(Terminal::alone(display));
    let machine = ControlMachine::new(inventory.inventory, Arc::clone(&console) as _);
    match inventory.services.into_iter().next() {
        Some(service) => machine.for_service(service, console),
        None => machine,
    }
}

/// The environment of a verb that does not roll out.
pub(super) fn quiet(inventory: InventoryArg) -> Arc<dyn Environment> {
    environment(inventory, DisplayArgs::default())
}

impl Console for Terminal {
    fn listen(&self) -> Result<Interrupts, Error> {
        listen()
    }

    fn notify(&self, notice: &Notice) {
        match &self.service {
            Some(label) => self.screen.note(&format!("{}: {notice}", label.name)),
            None => self.screen.note(&notice.to_string()),
        }
    }

    fn ask_password(&self, question: &str) -> Result<Vec<u8>, PromptError> {
        read_password(question)
    }

    fn reporter(&self, setup: ReporterSetup) -> Box<dyn Reporter> {
        let DisplayArgs { output, progress } = self.display;
        let setup = ReporterSetup {
            service: self.service.clone(),
            ..setup
        };
        match (output, progress) {
            (OutputFormat::Text, format) => {
                report::progress(format.unwrap_or_default(), setup, &self.screen)
            }
            (OutputFormat::Json, None) => report::json_events(&setup),
            (OutputFormat::Json, Some(format)) => Box::new(Tee(vec![
                report::json_events(&setup),
                report::progress(format, setup, &self.screen),
            ])),
        }
    }
}

/// Turns signals into events: after the first, in-flight actions finish; after the second, ship
/// exits at once.
pub(super) fn listen() -> Result<Interrupts, Error> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, name) in [
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::hangup(), "SIGHUP"),
    ] {
        let mut stream = signal(kind)
            .map_err(Internal::NoSignals)
            .map_err(Error::from)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(name).is_err() {
                    break;
                }
            }
        });
    }
    Ok(receiver)
}
