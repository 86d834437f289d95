//! `ship check`: prints all problems of the files and of every host.

use std::fmt::Write;

use serde_json::{Value, json};

use super::args::CheckArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::OutputFormat;
use super::terminal;
use crate::app::notice::deployed_elsewhere;
use crate::app::verbs::check::machine::MachineCheck;
use crate::app::verbs::check::{FleetCheck, check};

pub(super) async fn run(args: CheckArgs) -> Result<Exit, CliError> {
    let overrides = args.overrides.of_service(&args.inventory)?;
    let checked = check(&terminal::quiet(args.inventory), overrides).await?;
    match args.output.output {
        OutputFormat::Json => print(&format!("{:#}\n", object(&checked)))?,
        OutputFormat::Text => print(&text(&checked))?,
    };
    Ok(checked.exit())
}

fn object(checked: &FleetCheck) -> Value {
    let machine = |machine: &MachineCheck| {
        json!({
            "name": machine.host,
            "reachable": machine.is_reachable,
            "problems": machine.problems,
            "slow": machine.slow,
            "warnings": machine.warnings,
        })
    };
    let (version, error) = match &checked.release {
        Ok(release) => (Some(&release.definition.version), None),
        Err(error) => (None, Some(error.to_string())),
    };
    json!({
        "ok": checked.exit() == Exit::Done,
        "inventory": checked.inventory,
        "playbook": checked.playbook,
        "version": version,
        "artifact_error": error,
        "machines": checked.machines.iter().map(machine).collect::<Vec<_>>(),
        "note": checked.identity_note,
        "deployed_elsewhere": checked.elsewhere,
    })
}

// Writing to a string does not fail.
fn text(checked: &FleetCheck) -> String {
    let mut text = format!("ok      {}\n", checked.inventory.display());
    let _ = writeln!(text, "ok      {}", checked.playbook.display());
    let _ = match &checked.release {
        Ok(release) => writeln!(
            text,
            "ok      artifact of {} ({} bytes)",
            release.definition.version, release.definition.artifact.size_bytes
        ),
        Err(error) => writeln!(text, "FAILED  {error}"),
    };
    for machine in &checked.machines {
        add_machine(&mut text, machine);
    }
    if let Some(note) = &checked.identity_note {
        let _ = writeln!(text, "note    {note}");
    }
    if let Some(owner) = &checked.elsewhere {
        let _ = writeln!(text, "note    {}", deployed_elsewhere(owner));
    }
    text
}

fn add_machine(text: &mut String, machine: &MachineCheck) {
    let host = &machine.host;
    if machine.problems.is_empty() {
        let _ = writeln!(
            text,
            "ok      {host}: {}, {}",
            machine.access, machine.workload
        );
    }
    for problem in &machine.problems {
        let _ = writeln!(text, "FAILED  {host}: {}", host.without_name(problem));
    }
    for slow in &machine.slow {
        let _ = writeln!(text, "slow    {host}: {slow}");
    }
    for warning in &machine.warnings {
        let _ = writeln!(text, "warning {host}: {warning}");
    }
}
