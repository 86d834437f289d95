//! `ship unlock`: takes the lock away from a ship that holds it, and makes the hosts refuse its
//! orders.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write};

use super::args::UnlockArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::terminal;
use crate::app::verbs::unlock::Lock;
use crate::store::Holder;

pub(super) async fn run(args: UnlockArgs) -> Result<Exit, CliError> {
    let lock = Lock::read(&terminal::quiet(args.inventory))?;
    let Some(holder) = lock.holder.clone() else {
        let subject = lock.subject();
        return print(&format!(
            "deployment \"{}\" on {} is not locked\n",
            subject.service, subject.fleet
        ));
    };
    confirm(&holder, args.yes)?;
    let untold = lock.break_it().await?;
    let mut text = format!(
        "unlocked: the lock of {} is gone, and hosts refuse its orders from now on\n",
        name(&holder)
    );
    for (host, why) in untold {
        let _ = writeln!(
            text,
            "  {host} could not be told yet: {}; the next rollout tells it first",
            host.unnamed(&why)
        );
    }
    text.push_str("`ship status` shows where it stands\n");
    print(&text)
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
    let who = format!("{holder}");
    let who = who.split(';').next().unwrap_or(&who);
    if !std::io::stdin().is_terminal() {
        return Err(CliError::refused(format!(
            "error: {who}; nobody can be asked here whether to take the lock away: say --yes"
        )));
    }
    let mut stderr = std::io::stderr();
    let question =
        format!("{who}\nIts orders will be refused from now on. Take the lock away? [y/N] ");
    let mut answer = String::new();
    let asked = stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush());
    let read = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(CliError::refused("error: the lock is left where it is")),
    }
}
