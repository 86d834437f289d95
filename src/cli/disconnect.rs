//! `ship disconnect`: prints how many connections were closed.

use serde_json::json;

use super::args::DisconnectArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::OutputFormat;
use crate::app::verbs::disconnect::disconnect;
use crate::remote::ClosedConnections;
use crate::report::text::count;

pub(super) async fn run(args: DisconnectArgs) -> Result<Exit, CliError> {
    let closed = disconnect(args.inventory).await?;
    print(&match args.output.output {
        OutputFormat::Text => text(closed),
        OutputFormat::Json => {
            let object = json!({
                "hosts": closed.hosts,
                "jump_hosts": closed.jump_hosts,
                "stuck": closed.stuck,
                "in_use": closed.in_use,
            });
            format!("{object}\n")
        }
    })
}

fn text(closed: ClosedConnections) -> String {
    let mut lines = Vec::new();
    let hosts = count(closed.hosts, "host");
    match (closed.hosts, closed.jump_hosts) {
        (0, 0) => {}
        (_, 0) => lines.push(format!("closed the connections to {hosts}")),
        (_, jumps) => lines.push(format!(
            "closed the connections to {hosts} and {}",
            count(jumps, "jump host")
        )),
    }
    if closed.stuck > 0 {
        lines.push(format!(
            "{} not closed: the ssh process does not answer; it may be stopped (`pgrep -a ssh`)",
            count(closed.stuck, "connection")
        ));
    }
    if closed.in_use > 0 {
        lines.push(format!(
            "{} not closed, because a command is using it; run `ship disconnect` again when it has \
             ended",
            count(closed.in_use, "connection")
        ));
    }
    if lines.is_empty() {
        lines.push("no connection was open".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}
