//! The network address of a host, for probes that do not use ssh.

use std::net::{IpAddr, Ipv6Addr};

use super::login::address_options;
use super::lookup::lookup;
use super::ssh_config::SshSettings;
use crate::config::Transport;
use crate::core::fleet::health::{LINK_LOCAL, UNRESOLVED};
use crate::remote::target::Target;

/// The address to probe. For an `address` that only the user's `ssh_config` defines (a `Host`
/// alias), this is its `HostName`. An address that cannot be resolved at all is returned unchanged.
pub async fn network_address(target: &Target) -> String {
    let address = &target.address;
    if target.transport == Transport::Local
        || address.parse::<IpAddr>().is_ok()
        || resolves(address).await
    {
        return address.clone();
    }
    let settings = SshSettings::query(&address_options(target), address).await;
    settings
        .and_then(|settings| settings.host_name)
        .unwrap_or_else(|| address.clone())
}

/// Why a probe without ssh cannot reach an address from this machine, if that is known in
/// advance. `needs_url` is whether the probe uses the address in a URL, which cannot contain an
/// interface.
pub async fn direct_probe_problem(address: &str, needs_url: bool) -> Option<String> {
    let problem = link_local_problem(address, needs_url);
    let is_ip = without_interface(address).parse::<IpAddr>().is_ok();
    if problem.is_some() || is_ip || resolves(address).await {
        return problem;
    }
    Some(format!("{UNRESOLVED}{address} on this machine"))
}

/// Why a link-local address cannot be probed. Needs no DNS query.
pub fn link_local_problem(address: &str, needs_url: bool) -> Option<String> {
    let ip = without_interface(address);
    let is_link_local = ip
        .parse::<Ipv6Addr>()
        .is_ok_and(|ip| ip.segments()[0] & 0xffc0 == 0xfe80);
    (is_link_local && (needs_url || ip == address))
        .then(|| format!("{address} {LINK_LOCAL}, which cannot be probed over the network"))
}

fn without_interface(address: &str) -> &str {
    address.split_once('%').map_or(address, |(ip, _)| ip)
}

async fn resolves(name: &str) -> bool {
    !lookup(name).await.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn link_local_addresses_and_unknown_names_are_not_directly_reachable() {
        for (address, needs_url, expected) in [
            ("fe80::1", false, Some("fe80::1 is a link-local address")),
            (
                "fe80::1%eth0",
                true,
                Some("fe80::1%eth0 is a link-local address"),
            ),
            ("fe80::1%eth0", false, None),
            ("febf::1", true, Some("febf::1 is a link-local address")),
            ("fd00::1", true, None),
            ("169.254.7.7", true, None),
            ("localhost", true, None),
            (
                "web1.invalid",
                true,
                Some("cannot resolve web1.invalid on this machine"),
            ),
        ] {
            let found = direct_probe_problem(address, needs_url).await;
            assert_eq!(found.is_some(), expected.is_some(), "{address}: {found:?}");
            assert!(
                found
                    .unwrap_or_default()
                    .starts_with(expected.unwrap_or_default()),
                "{address}"
            );
        }
    }
}
