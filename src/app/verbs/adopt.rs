//! `ship adopt`: writes an inventory and a playbook from a unit that runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::future::join_all;

use crate::app::error::{Error, Internal, Refused};
use crate::app::new_files::{NewFiles, PLAYBOOK_NAME};
use crate::config::{
    self, AdoptedHost, AdoptedService, Escalation, Overrides, SshConfig, Transport, UnitName,
    UnitRefusal, UnitSite, adopt_unit, adopted_inventory,
};
use crate::core::existing_unit::ExistingUnit;
use crate::core::ids::HostId;
use crate::core::policy::admission::refusal::AdmissionRefusal;
use crate::remote::{Connections, Target};
use crate::script;

/// This machine, in messages and as an address.
const THIS_MACHINE: &str = "this machine";
const LOOPBACK: &str = "127.0.0.1";
/// User ID of root.
const ROOT: u32 = 0;

/// A unit, and where it runs.
pub struct AdoptRequest {
    /// The name of the unit, with or without `.service`.
    pub unit: String,
    /// The inventory to write.
    pub inventory: Option<PathBuf>,
    /// The hosts, each `[USER@]ADDRESS`; without any, this machine.
    pub hosts: Vec<String>,
    /// Whether scripts run with `sudo -n`.
    pub sudo: bool,
}

/// The files that `ship adopt` wrote, and what is in them.
pub struct AdoptedFiles {
    pub files: NewFiles,
    pub service: AdoptedService,
    /// The hosts, as the user named them.
    pub hosts: Vec<String>,
    /// The hosts whose unit would give another playbook, each with the keys that differ.
    pub differing: Vec<(String, Vec<String>)>,
}

/// A host to ask for the unit.
struct UnitHost {
    /// The host as the user named it.
    label: String,
    adopted: AdoptedHost,
    target: Target,
}

/// Reads a unit on its hosts, and writes an inventory and a playbook for it. Changes nothing on the
/// hosts.
///
/// # Errors
/// If a file exists already, a host cannot be reached, or ship cannot run such a service.
pub async fn adopt(request: AdoptRequest) -> Result<AdoptedFiles, Error> {
    let files = NewFiles::at(request.inventory, &[PLAYBOOK_NAME])?;
    let hosts = unit_hosts(&request.hosts, request.sudo)?;
    let not_adopted = |host: &UnitHost, refusal: UnitRefusal| Refused::UnitNotAdopted {
        unit: request.unit.clone(),
        host: host.label.clone(),
        refusal: Box::new(refusal),
    };
    let name = UnitName::parse(&request.unit).map_err(|refusal| not_adopted(&hosts[0], refusal))?;
    let units = read_units(&hosts, &name).await?;
    // One playbook for all hosts, so the others are compared with the first.
    let site = UnitSite {
        host: &hosts[0].label,
        is_local: hosts[0].target.transport == Transport::Local,
    };
    let mut services = Vec::new();
    for (host, unit) in hosts.iter().zip(&units) {
        let service = adopt_unit(unit, &site);
        services.push(service.map_err(|refusal| not_adopted(host, refusal))?);
    }
    let service = services.remove(0);
    let others = hosts.iter().skip(1).zip(&services);
    let differing = others.filter_map(|(host, other)| {
        let keys = differing_keys(&service.playbook, &other.playbook);
        (!keys.is_empty()).then(|| (host.label.clone(), keys))
    });
    let differing = differing.collect();
    let adopted: Vec<_> = hosts.iter().map(|host| host.adopted.clone()).collect();
    let sudo = request.sudo || units.iter().any(|unit| unit.user_id != ROOT);
    let inventory = adopted_inventory(&service.unit, &adopted, PLAYBOOK_NAME, sudo);
    check_files(&files, &inventory, &service.playbook)?;
    files.write(&inventory, std::slice::from_ref(&service.playbook))?;
    Ok(AdoptedFiles {
        files,
        service,
        hosts: hosts.into_iter().map(|host| host.label).collect(),
        differing,
    })
}

fn unit_hosts(hosts: &[String], sudo: bool) -> Result<Vec<UnitHost>, Error> {
    let escalation = if sudo {
        Escalation::Sudo
    } else {
        Escalation::None
    };
    let target = |name: String, address: &str, transport, user| Target {
        name: HostId::from(name),
        address: address.to_owned(),
        transport,
        ssh: SshConfig {
            user,
            escalation,
            ..SshConfig::default()
        },
        sudo_password: None,
        kept: None,
    };
    if hosts.is_empty() {
        let adopted = AdoptedHost {
            user: None,
            address: None,
        };
        return Ok(vec![UnitHost {
            label: THIS_MACHINE.to_owned(),
            target: target(adopted.name(1), LOOPBACK, Transport::Local, None),
            adopted,
        }]);
    }
    let mut found: Vec<UnitHost> = Vec::new();
    for (number, label) in (1..).zip(hosts) {
        let (user, address) = match label.rsplit_once('@') {
            None => (None, label.as_str()),
            Some((user, address)) => (Some(user.to_owned()), address),
        };
        if !config::is_address(address) || user.as_deref().is_some_and(|it| !config::is_login(it)) {
            return Err(Refused::InvalidHost(label.clone()).into());
        }
        let adopted = AdoptedHost {
            user: user.clone(),
            address: Some(address.to_owned()),
        };
        let name = adopted.name(number);
        if found
            .iter()
            .any(|known| *known.target.name.as_str() == *name)
        {
            return Err(Refused::HostNamedTwice(address.to_owned()).into());
        }
        found.push(UnitHost {
            label: label.clone(),
            target: target(name, address, Transport::Ssh, user),
            adopted,
        });
    }
    Ok(found)
}

/// Reads the unit on all hosts at the same time.
async fn read_units(hosts: &[UnitHost], name: &UnitName) -> Result<Vec<ExistingUnit>, Error> {
    let connections = Connections::new(hosts.iter().map(|host| host.target.clone()));
    let script = script::existing_unit(&name.full());
    let read = hosts.iter().map(|host| {
        let link = connections.links().get(&host.target.name);
        let script = &script;
        async move {
            let Some(link) = link else {
                return Err("not connected".to_owned());
            };
            let printed = link.run(script).await.map_err(|lost| lost.why)?;
            script::read_existing_unit(&printed).map_err(|error| error.to_string())
        }
    });
    let mut units = Vec::new();
    let mut unusable = BTreeMap::new();
    for (host, read) in hosts.iter().zip(join_all(read).await) {
        match read {
            Ok(unit) => units.push(unit),
            Err(why) => {
                unusable.insert(host.target.name.clone(), why);
            }
        }
    }
    if unusable.is_empty() {
        return Ok(units);
    }
    let of = hosts.len();
    Err(AdmissionRefusal::UnusableHosts { unusable, of }.into())
}

/// The keys of the lines that only one of two playbooks has.
fn differing_keys(first: &str, other: &str) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for (text, known) in [(first, other), (other, first)] {
        let known: Vec<_> = known.lines().collect();
        let lines = text.lines().filter(|line| !known.contains(line));
        for line in lines.filter(|line| !line.starts_with('#')) {
            let key = line.split_once(" = ").map_or(line, |(key, _)| key);
            if !keys.iter().any(|known| known == key) {
                keys.push(key.to_owned());
            }
        }
    }
    keys
}

/// Checks the files before they are written: they come from another program's text.
fn check_files(files: &NewFiles, inventory: &str, playbook: &str) -> Result<(), Error> {
    let read = |path: &Path| {
        let is_playbook = path.file_name() != files.inventory.file_name();
        let text = if is_playbook { playbook } else { inventory };
        Ok(text.as_bytes().to_vec())
    };
    match config::load_with(&files.inventory, &Overrides::default(), read) {
        Ok(_) => Ok(()),
        Err(why) => Err(Internal::Other(format!(
            "ship cannot express this unit in a playbook, and nothing was written\n{}",
            why.render(false).trim_end()
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_keys_are_those_of_changed_and_missing_lines() {
        let first = "# a\nuser = \"x\"\nports = [1]\nNice = 5\n";
        let other = "# b\nuser = \"x\"\nports = [2]\nLimitNOFILE = 1\n";
        assert_eq!(
            differing_keys(first, other),
            ["ports", "Nice", "LimitNOFILE"]
        );
        assert_eq!(differing_keys(first, first), [""; 0]);
    }

    #[test]
    fn hosts_are_addresses_with_an_optional_user() {
        let hosts = unit_hosts(&["deploy@web1".to_owned(), "::1".to_owned()], false);
        let hosts = hosts.unwrap_or_default();
        let names: Vec<_> = hosts.iter().map(|host| host.target.name.as_str()).collect();
        assert_eq!(names, ["web1", "host2"]);
        assert_eq!(hosts[0].target.ssh.user.as_deref(), Some("deploy"));
        for wrong in ["-oProxyCommand=x", "a b", "@web1"] {
            assert!(unit_hosts(&[wrong.to_owned()], false).is_err(), "{wrong}");
        }
        assert!(unit_hosts(&["web1".to_owned(), "a@web1".to_owned()], false).is_err());
    }
}
