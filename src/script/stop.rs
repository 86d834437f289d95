//! Stopping an instance.

use std::time::Duration;

use super::restore;
use super::site::{
    HostContext, Input, LOCK_WAIT, Script, Text, UNIT_DIR, WORK, centiseconds, line_count,
};
use crate::core::time::whole_seconds;
use crate::script::halt::{KILL_WAIT, StopSpec, systemd_wait};

/// Stops an instance with all its processes and empties its slot; its log stays. Where it is not,
/// nothing is done.
///
/// With [`StopSpec::restore_after`], the host has made sure before that it brings the instance back by
/// then, unless it is told to forget it ([`disarm`](super::disarm())).
pub fn stop(site: &HostContext, halt: &StopSpec) -> Script {
    let wait = systemd_wait(halt.stop_timeout);
    let restore_s = halt
        .restore_after
        .map(|after| whole_seconds(after).to_string());
    let text = Text::acting(site, "stop")
        .set("PORT", halt.port)
        .set("NAME", &halt.instance)
        .set("UNIT_DIR", UNIT_DIR)
        .set("RESTORE_S", restore_s.unwrap_or_default())
        .hooking(halt.hooks)
        .stopping(halt.stop_timeout);
    let (text, input) = match halt.restore_after {
        None => (text, Input::default()),
        Some(after) => {
            let restore = restore::restore(site, halt, after);
            let text = text
                .set("RESTORE_LINES", line_count(&restore))
                .set("RESTORE_UNIT", restore::unit(site, halt.port))
                .add(include_str!("sh/take.sh"))
                .add(include_str!("sh/unit.sh"))
                .add(include_str!("sh/guard.sh"))
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
        .script(input, LOCK_WAIT + wait + KILL_WAIT * 2 + halt.hooks + WORK)
}

impl Text {
    /// Lets the script stop instances. `stop_timeout` applies if an instance's record has none.
    pub(super) fn stopping(self, stop_timeout: Duration) -> Self {
        self.set("STOP_CS", centiseconds(stop_timeout))
            .set("KILL_CS", centiseconds(KILL_WAIT))
            .set("STOP_MARGIN_S", WORK.as_secs())
            .add(include_str!("sh/halt.sh"))
    }
}
