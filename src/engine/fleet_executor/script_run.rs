//! Runs the script of an action and interprets its reply.

use super::context::FleetContext;
use super::linked_host::LinkedHost;
use crate::engine::executor::ActionResult;
use crate::remote::HostUnavailable;
use crate::script::{self, Script};

/// Runs the script of an action.
pub(super) async fn run_script(
    context: &FleetContext,
    host: &LinkedHost,
    script: &Script,
) -> ActionResult {
    let result = match host.link.run(script).await {
        Ok(stdout) => interpret_reply(context, host, &stdout),
        Err(HostUnavailable { why }) => ActionResult::Unknown { why },
    };
    if let ActionResult::Done(observation) = &result {
        context.record_held(host, observation);
    }
    result
}

/// Returns the result of an action from the output of its script.
fn interpret_reply(context: &FleetContext, host: &LinkedHost, stdout: &str) -> ActionResult {
    let name = &host.site.target.name;
    let reply = match script::read_reply(stdout, context.now()) {
        Ok(reply) => reply,
        Err(unreadable) => {
            return ActionResult::Unknown {
                why: format!("{name}: {unreadable}"),
            };
        }
    };
    match reply.end {
        script::ScriptEnd::Done => ActionResult::Done(reply.observation),
        script::ScriptEnd::Fenced { seen } => ActionResult::Fenced { seen },
        script::ScriptEnd::Failed(error) => ActionResult::Failed {
            error,
            observation: Some(reply.observation),
        },
        // The action may be wrong by now: observe the host, and plan again.
        script::ScriptEnd::Late { .. } => ActionResult::Unknown {
            why: format!("{name}: the host has already executed a later action"),
        },
        // Another action is still running there, so this one was neither done nor failed: observe
        // the host, and plan again.
        script::ScriptEnd::LockBusy { holder } => ActionResult::Busy {
            why: format!("{name}: another script holds the lock of the service ({holder})"),
        },
    }
}
