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
            });
            format!("{object}\n")
        }
    })
}

fn text(closed: ClosedConnections) -> String {
    let hosts = count(closed.hosts, "host");
    let done = match closed {
        ClosedConnections {
            hosts: 0,
            jump_hosts: 0,
            stuck: 1..,
        } => String::new(),
        ClosedConnections {
            hosts: 0,
            jump_hosts: 0,
            stuck: 0,
        } => "no connection was open\n".to_owned(),
        ClosedConnections { jump_hosts: 0, .. } => format!("closed the connections to {hosts}\n"),
        ClosedConnections { jump_hosts, .. } => format!(
            "closed the connections to {hosts} and {}\n",
            count(jump_hosts, "jump host")
        ),
    };
    if closed.stuck == 0 {
        return done;
    }
    let stuck = count(closed.stuck, "connection");
    format!(
        "{done}{stuck} not closed: the ssh process does not answer; it may be stopped (`pgrep -a ssh`)\n"
    )
}
