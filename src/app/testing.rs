//! An environment for unit tests: this machine, without a terminal.

use std::path::PathBuf;
use std::sync::Arc;

use super::control_machine::{Console, ControlMachine};
use super::environment::Environment;
use super::error::Error;
use super::notice::Notice;
use crate::engine::Interrupts;
use crate::report::{Json, Reporter, ReporterSetup};
use crate::system::password_prompt::PromptError;

struct NullConsole;

impl Console for NullConsole {
    fn listen(&self) -> Result<Interrupts, Error> {
        Ok(tokio::sync::mpsc::unbounded_channel().1)
    }

    fn notify(&self, _: &Notice) {}

    fn ask_password(&self, _: &str) -> Result<Vec<u8>, PromptError> {
        Err(PromptError::NoTerminal)
    }

    fn reporter(&self, _: ReporterSetup) -> Box<dyn Reporter> {
        Box::new(Json::new(std::io::sink(), None))
    }
}

/// This machine with the given inventory.
pub(super) fn control_machine(inventory: PathBuf) -> Arc<dyn Environment> {
    Arc::new(ControlMachine::new(Some(inventory), Arc::new(NullConsole)))
}
