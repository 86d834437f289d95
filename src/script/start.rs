//! Starting an instance.

use std::time::Duration;

use super::env_file::env_file;
use super::hooks;
use super::liveness;
use super::site::{
    HostContext, Input, LOCK_WAIT, SERVICE_PATH, Script, Text, UNIT_DIR, WORK, centiseconds,
    driver_word, line_count, one_line,
};
use super::systemd::unit;
use crate::core::release::Driver;
use crate::core::release::hook::{HookPoint, hook_time};
use crate::core::time::whole_seconds;
use crate::script::halt::{KILL_WAIT, systemd_wait};
use crate::script::launch::{NUMBER_WAIT, StartSpec, enter_release};
use crate::script::quote::{quote, quote_all};

/// The shortest time limit for systemd to start a process.
const SYSTEMD_WAIT_MIN: Duration = Duration::from_secs(30);

/// Starts an instance in an empty slot. Where it was already started, nothing is done.
///
/// Refused if another instance is in the slot, or if somebody else listens on the port.
pub fn start(site: &HostContext, launch: &StartSpec) -> Script {
    let env = env_file(&launch.env);
    let question = launch
        .liveness
        .as_ref()
        .map(|liveness| liveness::question(site, launch, liveness));
    let question = question.unwrap_or_default();
    let hooks = hooks::kept(site, launch);
    let (hooking, undoing) = (
        hook_time(&launch.hooks.hooks, &HookPoint::ALL),
        undo_time(launch),
    );
    let text = Text::acting(site, "start")
        .set("PORT", launch.port)
        .set("NAME", &launch.instance)
        .set("RELEASE", &launch.release)
        .set("RECORD", record(launch))
        .set("DRIVER", driver_word(launch.driver))
        .running_as(site, launch.driver, launch.user.as_deref())
        .set("ENV_LINES", line_count(&env))
        .set("LIVENESS_LINES", line_count(&question))
        .set("HOOK_LINES", line_count(&hooks))
        .set("SETTLE_CS", centiseconds(launch.settle))
        .set("UNIT_DIR", UNIT_DIR)
        .hooking(hooking)
        .stopping(launch.stop_timeout)
        .add(include_str!("sh/take.sh"));
    let (text, wait) = match launch.driver {
        Driver::Process => add_process(text, site, launch),
        Driver::Systemd => add_unit(text, site, launch),
    };
    let input = Input {
        head: (env + &question + &hooks).into_bytes(),
        file: None,
    };
    text.add(include_str!("sh/start.sh")).script(
        input,
        LOCK_WAIT + wait + launch.settle + hooking + undoing + WORK,
    )
}

/// Adds the start of a process, and how long it may take.
fn add_process(text: Text, site: &HostContext, launch: &StartSpec) -> (Text, Duration) {
    let text = text
        .set("RUN", run_process(site, launch))
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("NUMBER_CS", centiseconds(NUMBER_WAIT))
        .add(include_str!("sh/start_process.sh"));
    (text, NUMBER_WAIT)
}

/// Adds the start of a systemd unit, and how long it may take.
fn add_unit(text: Text, site: &HostContext, launch: &StartSpec) -> (Text, Duration) {
    let patience = launch.patience.max(SYSTEMD_WAIT_MIN);
    let user = launch.user.as_deref();
    let service = unit(site, launch.port, user, launch.stop_timeout);
    let liveness = launch.liveness.as_ref();
    let units = liveness.map(|liveness| liveness::units(site, launch, liveness));
    let units = units.unwrap_or_default();
    let askers = liveness.map(|liveness| liveness::askers(&liveness.check));
    let text = text
        .set("RUN", format!("exec {}", quote_all(&launch.argv)))
        .set("UNIT", service)
        .set("SYSTEMD_WAIT_S", whole_seconds(patience))
        .set("ASKERS", askers.unwrap_or_default().join(" "))
        .set("LIVENESS_UNIT", units.service)
        .set("LIVENESS_TIMER", units.timer)
        .add(include_str!("sh/unit.sh"))
        .telling_units(site)
        .add(include_str!("sh/start_systemd.sh"));
    (text, patience)
}

/// The time to stop the instance again if a hook fails.
fn undo_time(launch: &StartSpec) -> Duration {
    let may_object = launch
        .hooks
        .hooks
        .iter()
        .any(|hook| hook.on == HookPoint::AfterStart);
    if may_object {
        systemd_wait(launch.stop_timeout) + KILL_WAIT
    } else {
        Duration::ZERO
    }
}

/// The slot's record, without the user and the moment of the start, which only the host knows.
fn record(launch: &StartSpec) -> String {
    [
        format!("name={}", launch.instance),
        format!("release={}", launch.release),
        format!("revision={}", launch.revision),
        format!("version={}", one_line(&launch.version)),
        format!("driver={}", driver_word(launch.driver)),
        format!("stop={}", centiseconds(launch.stop_timeout)),
    ]
    .join("\n")
}

/// The script that becomes the service. It notes its own number and start first, so that nothing
/// runs unrecorded; its arguments are the words that make it another user's.
fn run_process(site: &HostContext, launch: &StartSpec) -> String {
    let pid = quote(&format!("{}/slots/{}/pid", site.root(), launch.port));
    format!(
        "note() {{ set -- ${{1##*) }}; printf '%s %s\\n' \"$$\" \"${{20}}\" >{pid}; }}\n\
         IFS= read -r stat </proc/self/stat && note \"$stat\" || exit 126\n\
         {}\n\
         exec \"$@\" {}",
        enter_release(site, launch.port, &launch.release),
        quote_all(&launch.argv)
    )
}
