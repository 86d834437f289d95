//! `ship pause` for a stack: pauses the rollouts that run now. Afterwards, no other one begins.

use futures::future::join_all;

use super::services::{StackServices, is_rolling_out, of_service};
use crate::app::error::{Error, Refused};
use crate::app::verbs::pause::{PauseResult, pause as pause_service};

/// Pauses every rollout that runs, and waits until it has paused.
///
/// # Errors
/// If no rollout runs, or one could not be paused.
pub async fn pause(stack: &StackServices) -> Result<Vec<PauseResult>, Error> {
    let mut running = Vec::new();
    for service in &stack.services {
        if is_rolling_out(service)? {
            running.push(service);
        }
    }
    if running.is_empty() {
        let why = "no service is being rolled out, so there is nothing to pause";
        return Err(Refused::NotPermitted(why.to_owned()).into());
    }
    let paused = running.into_iter().map(|service| async move {
        let paused = pause_service(&service.env).await;
        paused.map_err(of_service(&service.name))
    });
    join_all(paused).await.into_iter().collect()
}
