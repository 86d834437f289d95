//! The password for sudo on the hosts: asked for once, before ship connects to a host.

use std::sync::Arc;

use super::environment::Environment;
use super::error::{Error, Refused};
use crate::config::{Inventory, SUDO_PASSWORD};
use crate::core::ids::HostId;
use crate::core::policy::unattended::RunMode;
use crate::remote::SudoPassword;

/// The password, if a machine of the inventory needs it.
///
/// # Errors
/// If it is not set and no one can be asked.
pub(crate) fn sudo_password(
    env: &dyn Environment,
    inventory: &Inventory,
    mode: RunMode,
) -> Result<Option<Arc<SudoPassword>>, Error> {
    let machines = inventory.machines_with_sudo_password();
    if machines.is_empty() {
        return Ok(None);
    }
    env.sudo_password(&machines, mode).map(Some)
}

/// The password from the environment; `None` if it is not set, or empty.
///
/// # Errors
/// If it cannot be a password.
pub(crate) fn from_environment() -> Result<Option<SudoPassword>, Error> {
    let Some(value) = std::env::var_os(SUDO_PASSWORD).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let invalid = |what| Refused::InvalidSudoPassword(format!("{SUDO_PASSWORD} {what}"));
    let text = value
        .into_string()
        .map_err(|_| invalid("is not valid UTF-8"))?;
    if text.contains(['\n', '\r', '\0']) {
        return Err(invalid("contains a line break").into());
    }
    Ok(Some(SudoPassword::new(text)))
}

/// The question for a person: `sudo password for web1 and 2 other hosts: `.
pub(crate) fn question(machines: &[HostId]) -> String {
    format!("sudo password for {}: ", few(machines))
}

/// `web1`, `web1 and web2`, or `web1 and 2 other hosts`.
pub(super) fn few(machines: &[HostId]) -> String {
    match machines {
        [] => "no host".to_owned(),
        [one] => one.to_string(),
        [one, other] => format!("{one} and {other}"),
        [one, others @ ..] => format!("{one} and {} other hosts", others.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_names_one_or_two_hosts_and_counts_the_others() {
        let ask = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| HostId::from(*name)).collect();
            question(&names)
        };
        assert_eq!(ask(&["a"]), "sudo password for a: ");
        assert_eq!(ask(&["a", "b"]), "sudo password for a and b: ");
        assert_eq!(
            ask(&["a", "b", "c"]),
            "sudo password for a and 2 other hosts: "
        );
    }
}
