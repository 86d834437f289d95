//! Stops an instance.

use std::time::Duration;

use super::host_context::{
    HostContext, Input, LOCK_WAIT, Script, Text, UNIT_DIR, WORK, centiseconds, line_count,
};
use super::restore;
use crate::core::time::whole_seconds;
use crate::script::stop_spec::{DETACHED_WAIT, KILL_WAIT, LINGER_GRACE, StopSpec, systemd_wait};

/// Stops an instance with all its processes and empties its slot, except for its log. If the slot
/// does not contain it, nothing is done.
///
/// With [`StopSpec::restore_after`], the script first arms the dead-man switch: the host restores
/// the instance after that time, unless it is disarmed ([`disarm`](super::disarm())).
pub fn stop(context: &HostContext, spec: &StopSpec) -> Script {
    let wait = systemd_wait(spec.stop_timeout);
    let restore_s = spec
        .restore_after
        .map(|after| whole_seconds(after).to_string());
    let text = Text::changing(context, "stop")
        .set("NUMBER", spec.number)
        .set("NAME", &spec.instance)
        .set("UNIT_DIR", UNIT_DIR)
        .set("RESTORE_S", restore_s.unwrap_or_default())
        .set("MAY_LINGER", if spec.may_linger { "yes" } else { "" })
        .running_hooks(spec.hooks)
        .stopping(spec.stop_timeout);
    let text = if spec.may_linger {
        text.set("LINGER_WATCH", linger_watch(context, spec))
            .set("LINGER_GRACE_CS", centiseconds(LINGER_GRACE))
            .add(include_str!("sh/linger.sh"))
    } else {
        text
    };
    let (text, input) = match spec.restore_after {
        None => (text, Input::default()),
        Some(after) => {
            let restore = restore::restore(context, spec, after);
            let text = text
                .set("RESTORE_LINES", line_count(&restore))
                .set("RESTORE_UNIT", restore::unit(context, spec.number))
                .add(include_str!("sh/read_stdin.sh"))
                .add(include_str!("sh/unit.sh"))
                .add(include_str!("sh/dead_mans_switch.sh"))
                .add(include_str!("sh/arm.sh"));
            (
                text,
                Input {
                    head: restore.into_bytes(),
                    file: None,
                },
            )
        }
    };
    text.add(include_str!("sh/stop.sh"))
        .script(input, LOCK_WAIT + wait + KILL_WAIT * 2 + spec.hooks + WORK)
}

/// The script that ends a lingering instance of the process driver.
fn linger_watch(context: &HostContext, spec: &StopSpec) -> String {
    Text::located(context)
        .set("NUMBER", spec.number)
        .set("NAME", &spec.instance)
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/without_controller.sh"))
        .add(include_str!("sh/process.sh"))
        .add(include_str!("sh/observe_slots.sh"))
        .stopping(spec.stop_timeout)
        .add(include_str!("sh/linger_watch.sh"))
        .into_text()
}

impl Text {
    /// Lets the script stop instances. `stop_timeout` applies if an instance's record has none.
    pub(super) fn stopping(self, stop_timeout: Duration) -> Self {
        self.set("STOP_CS", centiseconds(stop_timeout))
            .set("KILL_CS", centiseconds(KILL_WAIT))
            .set("DETACHED_CS", centiseconds(DETACHED_WAIT))
            .set("STOP_MARGIN_S", WORK.as_secs())
            .add(include_str!("sh/stop_instance.sh"))
    }
}
