//! `ship plan` for a stack: the order of the services, and the plan of each.

use std::fmt::Write as _;

use super::super::exit::{CliError, Exit};
use super::super::output::print;
use super::super::plan;
use super::super::shared_args::{DisplayArgs, OutputFormat};
use super::target::StackTarget;
use crate::app::verbs::plan::{DeployPlan, plan as plan_service};
use crate::config::StackOverrides;

pub(super) async fn show(
    stack: StackTarget,
    versions: Vec<String>,
    set: Vec<String>,
    output: OutputFormat,
) -> Result<Exit, CliError> {
    let services = stack.services(DisplayArgs::default());
    let names = services.services.iter().map(|it| it.name.clone());
    let overrides = StackOverrides {
        services: names.collect(),
        versions,
        set,
    };
    stack.machine.read_stack(&overrides)?;
    let plans = services.services.iter().map(|service| {
        let overrides = overrides.of(&service.name);
        async move { Box::pin(plan_service(&service.env, overrides)).await }
    });
    let plans = futures::future::try_join_all(plans).await?;
    print(&match output {
        OutputFormat::Json => object(&stack, &plans),
        OutputFormat::Text => text(&stack, &plans),
    })
}

/// Prints the plans of a rollback, in their order.
pub(super) fn show_rollback(
    stack: &StackTarget,
    plans: &[DeployPlan],
    output: OutputFormat,
) -> Result<Exit, CliError> {
    print(&match output {
        OutputFormat::Json => object(stack, plans),
        OutputFormat::Text if plans.is_empty() => "nothing to do\n".to_owned(),
        OutputFormat::Text => {
            let plans = plans.iter().enumerate().map(|(index, preview)| {
                let (number, service) = (index + 1, &preview.service_key.service);
                format!("service {number}: {service}\n{}", plan::text(preview))
            });
            plans.collect::<Vec<_>>().join("\n")
        }
    })
}

fn object(stack: &StackTarget, plans: &[DeployPlan]) -> String {
    let plans: Vec<_> = plans.iter().map(plan::object).collect();
    let object = serde_json::json!({ "fleet": stack.order.fleet, "services": plans });
    format!("{object:#}\n")
}

fn text(stack: &StackTarget, plans: &[DeployPlan]) -> String {
    let mut text = String::new();
    for (index, (service, preview)) in stack.order.services.iter().zip(plans).enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let after: Vec<_> = service.after.iter().map(String::as_str).collect();
        let after = if after.is_empty() {
            String::new()
        } else {
            format!(", after {}", after.join(", "))
        };
        let number = index + 1;
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{gap}service {number}: {}{after}\n{}",
            service.name,
            plan::text(preview)
        );
    }
    text
}
