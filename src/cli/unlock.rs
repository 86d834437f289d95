//! `ship unlock`: breaks the deploy lock and makes the hosts reject commands of its holder.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write};

use serde_json::json;

use super::args::UnlockArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::OutputFormat;
use super::terminal;
use crate::app::verbs::unlock::Lock;
use crate::core::ids::HostId;
use crate::core::time::Human;
use crate::report::LocalClock;
use crate::store::{Holder, ServiceKey};

pub(super) async fn run(args: UnlockArgs) -> Result<Exit, CliError> {
    let lock = Lock::read(&terminal::quiet(args.inventory))?;
    let key = lock.service_key().clone();
    let mut broken = None;
    if let Some(holder) = lock.holder.clone() {
        confirm(&holder, args.yes)?;
        broken = Some((holder, lock.break_lease().await?));
    }
    print(&match (args.output.output, broken) {
        (OutputFormat::Json, broken) => format!("{}\n", object(&key, broken)),
        (OutputFormat::Text, Some((holder, unreachable))) => text(&holder, &unreachable),
        (OutputFormat::Text, None) => format!(
            "service `{}` on fleet `{}` is not locked\n",
            key.service, key.fleet
        ),
    })
}

fn object(key: &ServiceKey, broken: Option<(Holder, Vec<(HostId, String)>)>) -> serde_json::Value {
    let (holder, unreachable) = broken.unzip();
    let unreachable: BTreeMap<HostId, String> =
        unreachable.unwrap_or_default().into_iter().collect();
    json!({
        "service": key.service,
        "fleet": key.fleet,
        "unlocked": holder.is_some(),
        "holder": holder.map(|holder| json!({
            "user": holder.owner, "host": holder.host, "pid": holder.pid, "command": holder.run,
        })),
        "unreachable": unreachable,
    })
}

fn text(holder: &Holder, unreachable: &[(HostId, String)]) -> String {
    let mut text = format!(
        "unlocked: broke the lock of {}; hosts reject its commands from now on\n",
        name(holder)
    );
    for (host, why) in unreachable {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "warning: {host} could not be notified: {} (the next rollout notifies it first)",
            host.without_name(why)
        );
    }
    text.push_str("hint: see the state of the rollout with `ship status`\n");
    text
}

fn name(holder: &Holder) -> String {
    format!(
        "{}@{} (pid {}, {})",
        holder.owner, holder.host, holder.pid, holder.run
    )
}

fn confirm(holder: &Holder, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let state = format!(
        "locked by {} since {}, {} ago; last heartbeat {} ago",
        name(holder),
        LocalClock::local().day_and_time(holder.since),
        Human(holder.now.since(holder.since)),
        Human(holder.now.since(holder.heartbeat))
    );
    if !std::io::stdin().is_terminal() {
        return Err(CliError::refused(format!(
            "error: {state}; cannot prompt for confirmation\nhint: pass --yes"
        )));
    }
    let mut stderr = std::io::stderr();
    let question = format!("{state}\nHosts will reject its commands. Break the lock? [y/N] ");
    let mut answer = String::new();
    let prompted = stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush());
    let read = prompted.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(CliError::refused("error: the lock was not broken")),
    }
}
