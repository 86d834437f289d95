//! The requests of other processes to a rollout.

use crate::core::rollout::Rollout;
use crate::core::rollout::event::Event;
use crate::store::{Request, Wish};

/// The event for a request; `None` if it changes nothing any more.
pub(super) fn event(request: Request, rollout: &Rollout) -> Option<Event> {
    let Request { wish, by } = request;
    let step = rollout.step.passed.saturating_add(1);
    match wish {
        Wish::Pause if rollout.requests.paused.is_none() => Some(Event::Paused { by }),
        Wish::Abort if rollout.requests.aborted.is_none() => Some(Event::Aborted { by }),
        Wish::Freeze if rollout.requests.frozen.is_none() => Some(Event::Frozen {
            freeze: format!("frozen by {by}"),
        }),
        Wish::Promote { step: asked } if asked == step && !rollout.step.promoted => {
            Some(Event::Promoted { by, full: false })
        }
        Wish::PromoteFully if rollout.step.passed < u32::MAX => {
            Some(Event::Promoted { by, full: true })
        }
        Wish::Pause | Wish::Abort | Wish::Freeze | Wish::Promote { .. } | Wish::PromoteFully => {
            None
        }
    }
}
