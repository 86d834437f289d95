//! Starts an instance.

use std::time::Duration;

use super::env_file::env_file;
use super::hooks::{self, exports};
use super::host_context::{
    HostContext, Input, LOCK_WAIT, SERVICE_PATH, Script, Text, UNIT_DIR, WORK, centiseconds,
    driver_word, line_count, one_line, port_list,
};
use super::liveness;
use super::systemd::{self, unit};
use crate::core::ids::Port;
use crate::core::release::Driver;
use crate::core::release::hook::{HookPoint, hook_time};
use crate::core::release::link::{ACTIVATE_TIMEOUT, activation_time};
use crate::core::time::whole_seconds;
use crate::script::quote::{quote, quote_all};
use crate::script::start_spec::{PID_WAIT, StartSpec, enter_release};
use crate::script::stop_spec::{KILL_WAIT, systemd_wait};

/// The minimum time limit for systemd to start a process.
const SYSTEMD_WAIT_MIN: Duration = Duration::from_secs(30);

/// Starts an instance in an empty slot. If it was already started, nothing is done.
///
/// Fails if another instance is in the slot, or if another process listens on one of its ports.
pub fn start(context: &HostContext, spec: &StartSpec) -> Script {
    let env = env_file(&spec.env);
    let probe_script = spec
        .liveness
        .as_ref()
        .map(|liveness| liveness::probe_script(context, spec, liveness));
    let probe_script = probe_script.unwrap_or_default();
    let hooks = hooks::hooks_file(context, spec);
    let (hooks_limit, undo_limit) = (
        hook_time(&spec.hooks.hooks, &HookPoint::ALL),
        undo_time(spec),
    );
    let text = Text::changing(context, "start")
        .set("NUMBER", spec.number)
        .set("START_PORTS", port_list(own_ports(spec)))
        .set("SHARED_DIRS", spec.shared_dirs.join(" "))
        .set("NAME", &spec.instance)
        .set("RELEASE", &spec.release)
        .set("RECORD", record(spec))
        .set("DRIVER", driver_word(spec.driver))
        .set(
            "RELOADS",
            spec.reloads
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        )
        .running_as(context, spec.driver, spec.user.as_deref())
        .set("ENV_LINES", line_count(&env))
        .set("LIVENESS_LINES", line_count(&probe_script))
        .set("HOOK_LINES", line_count(&hooks))
        .set("SETTLE_CS", centiseconds(spec.settle))
        .set("UNIT_DIR", UNIT_DIR)
        .running_hooks(hooks_limit)
        .stopping(spec.stop_timeout)
        .add(include_str!("sh/read_stdin.sh"))
        .add(include_str!("sh/shared_dirs.sh"));
    let text = if spec.reloads.is_some() {
        text.add(include_str!("sh/reload.sh"))
    } else {
        text
    };
    let (text, wait) = match spec.driver {
        Driver::Process => add_process_start(text, context, spec),
        Driver::Systemd => add_unit_start(text, context, spec),
        Driver::Link => add_link(text, context, spec),
    };
    let input = Input {
        head: (env + &probe_script + &hooks).into_bytes(),
        file: None,
    };
    text.add(include_str!("sh/start.sh")).script(
        input,
        LOCK_WAIT + wait + spec.settle + hooks_limit + undo_limit + WORK,
    )
}

/// Adds the start of a process, and returns its time limit.
fn add_process_start(text: Text, context: &HostContext, spec: &StartSpec) -> (Text, Duration) {
    let text = text
        .set("RUN", run_process(context, spec))
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("PID_WAIT_CS", centiseconds(PID_WAIT))
        .add(include_str!("sh/start_process.sh"));
    (text, PID_WAIT)
}

/// Adds the switch of `current` and its activation, and returns its time limit.
fn add_link(text: Text, context: &HostContext, spec: &StartSpec) -> (Text, Duration) {
    let text = text
        .set("RUN", activation(context, spec))
        .set("ACTIVATE", one_line(&spec.activate.join(" ")))
        .set("SWITCHES_BACK", "yes")
        .set("ACTIVATE_S", ACTIVATE_TIMEOUT.as_secs())
        .set("SERVICE_PATH", SERVICE_PATH)
        .add(include_str!("sh/start_link.sh"));
    (text, activation_time(&spec.activate))
}

/// The ports on which the instance itself listens.
fn own_ports(spec: &StartSpec) -> &[Port] {
    match spec.driver {
        Driver::Link => &[],
        Driver::Process | Driver::Systemd => &spec.ports,
    }
}

/// The script that runs `activate`, in the directory and with the variables of a hook; empty without
/// the command.
fn activation(context: &HostContext, spec: &StartSpec) -> String {
    if spec.activate.is_empty() {
        return String::new();
    }
    format!(
        "{}\n{}exec {}",
        enter_release(context, spec.number, &spec.release),
        exports(&spec.hooks.env),
        quote_all(&spec.activate)
    )
}

/// Adds the start of a systemd unit, and returns its time limit.
fn add_unit_start(text: Text, context: &HostContext, spec: &StartSpec) -> (Text, Duration) {
    let start_timeout = spec.start_timeout.max(SYSTEMD_WAIT_MIN);
    let service = unit(context, spec);
    let takes_long = systemd::may_start_slowly(spec);
    let liveness = spec.liveness.as_ref();
    let units = liveness.map(|liveness| liveness::units(context, spec, liveness));
    let units = units.unwrap_or_default();
    let probe_tools = liveness.map(|liveness| liveness::probe_tools(&liveness.check));
    let text = text
        .set("RUN", run_unit(context, spec))
        .set("UNIT", service)
        .set(
            "HAS_DIRECTIVES",
            if spec.directives.is_empty() {
                ""
            } else {
                "yes"
            },
        )
        .set("NO_BLOCK", if takes_long { "--no-block" } else { "" })
        .set("SYSTEMD_WAIT_S", whole_seconds(start_timeout))
        .set("PROBE_TOOLS", probe_tools.unwrap_or_default().join(" "))
        .set("LIVENESS_UNIT", units.service)
        .set("LIVENESS_TIMER", units.timer)
        .add(include_str!("sh/unit.sh"))
        .distinguishing_units(context)
        .add(include_str!("sh/start_systemd.sh"));
    // A reload that fails is followed by a second one.
    let attempts = if spec.reloads.is_some() { 2 } else { 1 };
    (text, start_timeout * attempts)
}

/// The script that becomes the service of a unit. A service that can be reloaded gets the path of its
/// directory through the slot's link in `PWD`, so that the path leads to the files of the next release
/// after the switch.
fn run_unit(context: &HostContext, spec: &StartSpec) -> String {
    let command = format!("exec {}", quote_all(&spec.argv));
    if spec.reload.is_empty() {
        return command;
    }
    let app = quote(&format!(
        "{}/slots/{}/release/app",
        context.root(),
        spec.number
    ));
    format!("cd {app} && export PWD && {command}")
}

/// The time to stop the instance again if a hook fails.
fn undo_time(spec: &StartSpec) -> Duration {
    let has_after_start_hook = spec
        .hooks
        .hooks
        .iter()
        .any(|hook| hook.on == HookPoint::AfterStart);
    if has_after_start_hook {
        systemd_wait(spec.stop_timeout) + KILL_WAIT
    } else {
        Duration::ZERO
    }
}

/// The slot's record, without the user and the start time, which only the host knows.
fn record(spec: &StartSpec) -> String {
    let linger = spec
        .linger
        .map(|linger| format!("linger={}", whole_seconds(linger)));
    let lines = [
        format!("name={}", spec.instance),
        format!("release={}", spec.release),
        format!("revision={}", spec.revision),
        format!("version={}", one_line(&spec.version)),
        format!("driver={}", driver_word(spec.driver)),
        format!("ports={}", port_list(&spec.ports)),
        format!("signal={}", spec.stop_signal.name()),
        format!("stop={}", centiseconds(spec.stop_timeout)),
    ];
    let lines: Vec<_> = lines.into_iter().chain(linger).collect();
    lines.join("\n")
}

/// The script that becomes the service. First it records its process ID and start time, so that
/// nothing runs unrecorded. Its arguments are the command prefix that changes the user.
fn run_process(context: &HostContext, spec: &StartSpec) -> String {
    let pid = quote(&format!("{}/slots/{}/pid", context.root(), spec.number));
    format!(
        "record_pid() {{ set -- ${{1##*) }}; printf '%s %s\\n' \"$$\" \"${{20}}\" >{pid}; }}\n\
         IFS= read -r stat </proc/self/stat && record_pid \"$stat\" || exit 126\n\
         {}\n\
         exec \"$@\" {}",
        enter_release(context, spec.number, &spec.release),
        quote_all(&spec.argv)
    )
}
