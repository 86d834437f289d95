//! The user's commands at the points of an instance's life, as its slot stores them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::host_context::{HostContext, SERVICE_PATH, Text, one_line};
use crate::core::release::hook::HookPoint;
pub(super) use crate::core::release::hook::KILL_TIME;
use crate::core::time::whole_seconds;
use crate::script::quote::{quote, quote_all};
use crate::script::start_spec::{SlotHooks, StartSpec, enter_release};

/// The limit of the stored output of a command in bytes.
pub(super) const OUTPUT_BYTES_MAX: usize = 16 << 10;
/// The limit of reported output lines of a command: the last ones.
pub(super) const OUTPUT_LINES_MAX: usize = 50;

/// The points in an instance's life whose hooks are stored in its slot.
const POINTS: [HookPoint; 4] = [
    HookPoint::BeforeStart,
    HookPoint::AfterStart,
    HookPoint::BeforeStop,
    HookPoint::AfterStop,
];

/// Exports the variables, one per line.
pub(super) fn exports(env: &BTreeMap<String, String>) -> String {
    env.iter().fold(String::new(), |mut text, (key, value)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "export {key}={}", quote(&one_line(value)));
        text
    })
}

/// The file in the slot, which scripts source; empty if there are no hooks. The host adds the user.
pub(super) fn hooks_file(context: &HostContext, spec: &StartSpec) -> String {
    let SlotHooks { hooks, env } = &spec.hooks;
    if hooks.is_empty() {
        return String::new();
    }
    let enter = format!(
        "{}\n{}",
        enter_release(context, spec.number, &spec.release),
        exports(env)
    );
    let mut text = [
        format!("hook_name={}", quote(spec.instance.as_str())),
        format!("hook_path={}", quote(SERVICE_PATH)),
        format!("hook_enter={}", quote(enter.trim_end())),
        "hooks_of() {\ncase $1 in\n".to_owned(),
    ]
    .join("\n");
    for point in POINTS {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{point})");
        for hook in hooks.iter().filter(|hook| hook.on == point) {
            let _ = writeln!(
                text,
                "hook {} {}",
                whole_seconds(hook.timeout),
                quote(&quote_all(&hook.command))
            );
        }
        text.push_str(";;\n");
    }
    text + "esac\n}\n"
}

impl Text {
    /// Adds the functions that run the hooks of a slot within this time.
    pub(super) fn running_hooks(self, allowed: Duration) -> Self {
        self.set("HOOKS_S", allowed.as_secs())
            .running_commands()
            .add(include_str!("sh/hooks.sh"))
    }

    /// Adds the functions that run a command of the user.
    pub(super) fn running_commands(self) -> Self {
        self.set("OUTPUT_BYTES_MAX", OUTPUT_BYTES_MAX)
            .set("OUTPUT_LINES_MAX", OUTPUT_LINES_MAX)
            .add(include_str!("sh/run.sh"))
    }
}
