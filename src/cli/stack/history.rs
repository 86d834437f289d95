//! `ship history` for a stack: the deployments.

use super::super::exit::{CliError, Exit};
use super::super::output::print;
use super::super::shared_args::{DisplayArgs, OutputFormat};
use super::conclusion::services;
use super::target::StackTarget;
use crate::app::stack::deployments;
use crate::core::stack::{Deployment, StackOutcome};
use crate::core::time::Human;
use crate::report::clock::rfc3339;
use crate::report::text::clean;
use crate::report::{LocalClock, columns};

const COLUMNS: [&str; 7] = [
    "DEPLOYMENT",
    "WHEN",
    "TOOK",
    "WHO",
    "OUTCOME",
    "SERVICES",
    "REASON",
];

pub(super) fn run(stack: &StackTarget, output: OutputFormat) -> Result<Exit, CliError> {
    let deployments = deployments(&stack.services(DisplayArgs::default()))?;
    print(&match output {
        OutputFormat::Json => {
            let all: Vec<_> = deployments.iter().rev().map(object).collect();
            format!("{:#}\n", serde_json::Value::from(all))
        }
        OutputFormat::Text if deployments.is_empty() => {
            "nothing has been deployed from here yet\nhint: `ship status` shows what the hosts run\n"
                .to_owned()
        }
        OutputFormat::Text => table(&deployments),
    })
}

fn object(deployment: &Deployment) -> serde_json::Value {
    let took = deployment.ended.map(|ended| ended.since(deployment.began));
    serde_json::json!({
        "deployment": deployment.number,
        "verb": deployment.verb,
        "who": deployment.who,
        "when": rfc3339(deployment.began),
        "duration_s": took.map(|took| took.as_secs_f64()),
        "reason": deployment.reason,
        "outcome": outcome(deployment),
        "services": services(deployment),
    })
}

fn outcome(deployment: &Deployment) -> &'static str {
    deployment.outcome.map_or("unfinished", StackOutcome::word)
}

fn table(deployments: &[Deployment]) -> String {
    let header = COLUMNS.map(str::to_owned).to_vec();
    let rows = deployments.iter().rev().map(cells);
    let rows: Vec<_> = [header].into_iter().chain(rows).collect();
    columns::joined(&columns::lines(&rows))
}

fn cells(deployment: &Deployment) -> Vec<String> {
    let took = deployment.ended.map_or_else(
        || "-".to_owned(),
        |ended| Human(ended.since(deployment.began)).to_string(),
    );
    let services = deployment
        .services
        .iter()
        .map(|it| format!("{} {} ({})", it.service, it.version, it.revision));
    vec![
        deployment.number.to_string(),
        LocalClock::local().day_and_time(deployment.began),
        took,
        clean(&deployment.who),
        outcome(deployment).to_owned(),
        clean(&services.collect::<Vec<_>>().join(", ")),
        clean(&deployment.reason),
    ]
}
