//! The user's commands at the points of an instance's life, as its slot keeps them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::site::{HostContext, SERVICE_PATH, Text, one_line};
pub(super) use crate::core::release::hook::END;
use crate::core::release::hook::HookPoint;
use crate::core::time::whole_seconds;
use crate::script::launch::{SlotHooks, StartSpec, enter_release};
use crate::script::quote::{quote, quote_all};

/// The limit of bytes that are kept of a command's output.
pub(super) const SAID_BYTES: usize = 16 << 10;
/// The limit of lines that are reported of a command's output: the last ones.
pub(super) const SAID_LINES: usize = 50;

/// The points in an instance's life that leave something in its slot.
const POINTS: [HookPoint; 4] = [
    HookPoint::BeforeStart,
    HookPoint::AfterStart,
    HookPoint::BeforeStop,
    HookPoint::AfterStop,
];

/// Exports the variables, one on each line.
pub(super) fn exports(env: &BTreeMap<String, String>) -> String {
    env.iter().fold(String::new(), |mut text, (key, value)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "export {key}={}", quote(&one_line(value)));
        text
    })
}

/// The file in the slot, which scripts read as their own text; empty where there are no hooks. The
/// host adds the user.
pub(super) fn kept(site: &HostContext, launch: &StartSpec) -> String {
    let SlotHooks { hooks, env } = &launch.hooks;
    if hooks.is_empty() {
        return String::new();
    }
    let enter = format!(
        "{}\n{}",
        enter_release(site, launch.port, &launch.release),
        exports(env)
    );
    let mut text = [
        format!("hook_name={}", quote(launch.instance.as_str())),
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
    /// Adds the functions to run the hooks of a slot within this time.
    pub(super) fn hooking(self, allowed: Duration) -> Self {
        self.set("HOOKS_S", allowed.as_secs())
            .running()
            .add(include_str!("sh/hooks.sh"))
    }

    /// Adds the functions to run a command of the user.
    pub(super) fn running(self) -> Self {
        self.set("SAID_BYTES", SAID_BYTES)
            .set("SAID_LINES", SAID_LINES)
            .add(include_str!("sh/run.sh"))
    }
}
