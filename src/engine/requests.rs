//! The requests of other processes to a rollout: `ship pause`, `abort`, `freeze` and `promote`.

use crate::core::rollout::Rollout;
use crate::core::rollout::event::Event;
use crate::store::{ControlRequest, Request};

/// Returns the event for a request; `None` if the request has no effect, or no longer has one.
pub(super) fn event(request: Request, rollout: &Rollout) -> Option<Event> {
    let Request { command, by } = request;
    let step = rollout.step.passed.saturating_add(1);
    match command {
        ControlRequest::Pause if rollout.requests.paused.is_none() => Some(Event::Paused { by }),
        ControlRequest::Abort if rollout.requests.aborted.is_none() => Some(Event::Aborted { by }),
        ControlRequest::Freeze if rollout.requests.frozen.is_none() => Some(Event::Frozen {
            freeze: format!("frozen by {by}"),
        }),
        ControlRequest::Promote { step: requested }
            if requested == step && !rollout.step.promoted =>
        {
            Some(Event::Promoted { by, full: false })
        }
        ControlRequest::PromoteFully if rollout.step.passed < u32::MAX => {
            Some(Event::Promoted { by, full: true })
        }
        ControlRequest::Pause
        | ControlRequest::Abort
        | ControlRequest::Freeze
        | ControlRequest::Promote { .. }
        | ControlRequest::PromoteFully => None,
    }
}
