//! `ship adopt`: prints what was found, which files were written, and the next steps.

use super::args::AdoptArgs;
use super::exit::{CliError, Exit};
use super::output::{note, print};
use crate::app::verbs::adopt::{AdoptRequest, AdoptedFiles, adopt};

pub(super) async fn run(args: AdoptArgs) -> Result<Exit, CliError> {
    let adopted = adopt(AdoptRequest {
        unit: args.unit,
        inventory: args.inventory,
        hosts: args.host,
        sudo: args.sudo,
    })
    .await?;
    for text in &adopted.service.notes {
        note(&format!("note: {text}"));
    }
    for (host, keys) in &adopted.differing {
        let (first, keys) = (&adopted.hosts[0], keys.join(", "));
        note(&format!(
            "warning: the unit of {host} differs from that of {first}, for which the playbook is: {keys}"
        ));
    }
    print(&text(&adopted))
}

fn text(adopted: &AdoptedFiles) -> String {
    let AdoptedFiles {
        files,
        service,
        hosts,
        ..
    } = adopted;
    let inventory = files.inventory.display();
    let playbooks = files
        .playbooks
        .iter()
        .map(|path| path.display().to_string());
    let playbook = playbooks.collect::<String>();
    let (unit, hosts) = (&service.unit, hosts.join(", "));
    let ports: Vec<_> = service.ports.iter().map(ToString::to_string).collect();
    let listens = match ports.len() {
        0 => String::new(),
        1 => format!(" on port {}", ports.join("")),
        _ => format!(" on ports {}", ports.join(", ")),
    };
    let dropped = match service.dropped {
        0 => String::new(),
        1 => "; its end lists 1 setting that was not taken over".to_owned(),
        n => format!("; its end lists {n} settings that were not taken over"),
    };
    format!(
        "{unit} on {hosts} runs {} as {}{listens}\nwrote {inventory}\nwrote \
         {playbook}: review it, most of all the artifact{dropped}\n\nnext steps:\n  ship check \
         {inventory}      # validate both files and check every host\n  systemctl disable --now \
         {unit}      # on each host, when you are ready to deploy\n  ship deploy {inventory}\n",
        service.program, service.user
    )
}
