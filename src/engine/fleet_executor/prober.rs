//! Sends readiness probes: over the network, through the SSH connection, or on the host.

use super::context::FleetContext;
use super::linked_host::LinkedHost;
use crate::config::{SlotVars, render};
use crate::core::fleet::health::Verdict;
use crate::core::fleet::{Instance, Listener, Occupant};
use crate::core::ids::Slot;
use crate::core::release::{Check, Definition, Via};
use crate::core::time::Human;
use crate::{probe, remote, script};

/// Sends readiness probes to instances.
pub(super) struct Prober {
    client: probe::Client,
}

impl Prober {
    pub(super) fn new() -> Self {
        Self {
            client: probe::Client::new(),
        }
    }

    /// Sends one probe to an instance.
    pub(super) async fn probe(
        &self,
        context: &FleetContext,
        slot: &Slot,
        instance: &Instance,
    ) -> Verdict {
        let Ok(definition) = context.definition(&instance.release) else {
            return Verdict::Error("the release of the instance is not in the history".into());
        };
        let Ok(host) = context.host(&slot.host) else {
            return Verdict::Error("the host is not in the inventory".into());
        };
        let readiness = &definition.readiness;
        let verdict = match (&readiness.check, readiness.via) {
            (Check::Command(words), _) => {
                probe_by_command(context, host, slot, instance, definition, words).await
            }
            (Check::Tcp, Via::Ssh) | (Check::Running(_) | Check::Notify, _) => {
                probe_by_observation(context, slot, instance, definition).await
            }
            (check, _) => match port_probe(check, &context.vars(host, slot, definition)) {
                Ok(probe) => {
                    self.probe_port(host, slot, instance, definition, probe)
                        .await
                }
                Err(error) => Err(error),
            },
        };
        verdict.unwrap_or_else(Verdict::Error)
    }

    async fn probe_port(
        &self,
        host: &LinkedHost,
        slot: &Slot,
        instance: &Instance,
        definition: &Definition,
        port_probe: probe::PortProbe,
    ) -> Result<Verdict, String> {
        let readiness = &definition.readiness;
        let port = definition.readiness_port(slot.number);
        let port = port.ok_or("the release has no such port")?;
        let route = match readiness.via {
            Via::Direct => {
                let address = host.link.network_address().await.to_owned();
                if let Some(why) = remote::link_local_problem(
                    &address,
                    matches!(port_probe, probe::PortProbe::Http { .. }),
                ) {
                    return Err(why);
                }
                probe::Route::Direct { address }
            }
            Via::Ssh => {
                let connection = host.link.connection().await.map_err(|broken| broken.why)?;
                let address = address_on_host(instance.listener(port), &host.site.target.address);
                match connection
                    .forward(&address, port)
                    .await
                    .map_err(|error| error.to_string())?
                {
                    Some(socket) => probe::Route::Socket(socket),
                    None => probe::Route::Direct { address },
                }
            }
        };
        Ok(probe::probe(&self.client, &port_probe, &route, port, readiness.timeout).await)
    }
}

/// Builds the probe of a check with rendered templates.
fn port_probe(check: &Check, vars: &SlotVars<'_>) -> Result<probe::PortProbe, String> {
    match check {
        Check::Http {
            path,
            status,
            body,
            host_header,
            header,
        } => Ok(probe::PortProbe::Http {
            path: path.clone(),
            status: *status,
            body: body.as_ref().map(|text| render(text, vars)).transpose()?,
            host_header: host_header.clone(),
            header: header.as_ref().map(|text| render(text, vars)).transpose()?,
        }),
        Check::Tcp | Check::Command(_) | Check::Running(_) | Check::Notify => {
            Ok(probe::PortProbe::Tcp)
        }
    }
}

/// Observes the host instead of opening a connection: a port with a listener accepts connections,
/// and no forwarding is needed. The host also knows since when a process runs, and whether systemd
/// counts it as started.
async fn probe_by_observation(
    context: &FleetContext,
    slot: &Slot,
    instance: &Instance,
    definition: &Definition,
) -> Result<Verdict, String> {
    let observation = context
        .observe(&slot.host)
        .await
        .map_err(|unavailable| unavailable.why)?;
    Ok(match observation.slots.get(&slot.number) {
        Some(Occupant::Instance(seen)) if seen.name == instance.name => {
            seen.check_observed(definition, slot.number)
        }
        _ => Verdict::Fail("the instance no longer exists".into()),
    })
}

async fn probe_by_command(
    context: &FleetContext,
    host: &LinkedHost,
    slot: &Slot,
    instance: &Instance,
    definition: &Definition,
    words: &[String],
) -> Result<Verdict, String> {
    let vars = context.vars(host, slot, definition);
    let argv = words
        .iter()
        .map(|word| render(word, &vars))
        .collect::<Result<Vec<_>, _>>()?;
    let command = script::CommandProbe {
        number: slot.number,
        instance: instance.name.clone(),
        release: instance.release.clone(),
        driver: definition.driver,
        user: definition.user.clone(),
        argv,
        timeout: definition.readiness.timeout,
    };
    let queried = context
        .query(&slot.host, |site| script::probe_command(site, &command))
        .await;
    let stdout = queried.map_err(|unavailable| unavailable.why)?;
    let answer = script::read_probe_result(&stdout).map_err(|error| error.to_string())?;
    let known = &instance.sighting.process;
    if answer.process.is_empty() || !known.is_empty() && *known != answer.process {
        let why = "the process of the instance ended or was replaced meanwhile";
        return Ok(Verdict::Fail(why.into()));
    }
    Ok(match answer.status {
        0 => Verdict::Pass(answer.line),
        124 | 137 => {
            let timeout = Human(definition.readiness.timeout);
            Verdict::Fail(format!("the command did not finish within {timeout}"))
        }
        status => Verdict::Fail(format!(
            "the command exited with status {status}: {}",
            answer.line
        )),
    })
}

/// The address at which an instance can be reached from its own host.
fn address_on_host(listener: &Listener, address: &str) -> String {
    let (Listener::Own { address } | Listener::Server { address }) = listener else {
        return address.to_owned();
    };
    match address.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "localhost".to_owned(),
        address => address.to_owned(),
    }
}
