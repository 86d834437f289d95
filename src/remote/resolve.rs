//! Where a host is on the network, for probes that do not go through ssh.

use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::master::address_options;
use super::{Target, Transport, group};

const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// The address to probe. An `address` that only the user's `ssh_config` knows (a `Host` alias) is what that says its
/// `HostName` is; where nobody knows better it is left as it is.
pub async fn network_address(target: &Target) -> String {
    let address = &target.address;
    if target.transport == Transport::Local || address.parse::<IpAddr>().is_ok() || is_known(address).await {
        return address.clone();
    }
    timeout(LOOKUP_DEADLINE, host_name(target)).await.ok().flatten().unwrap_or_else(|| address.clone())
}

async fn is_known(name: &str) -> bool {
    match timeout(LOOKUP_DEADLINE, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(mut found)) => found.next().is_some(),
        Ok(Err(_)) | Err(_) => false,
    }
}

async fn host_name(target: &Target) -> Option<String> {
    let mut command = Command::new("ssh");
    command.arg("-G").args(address_options(target)).arg("--").arg(&target.address);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (child, group) = group::spawn(&mut command).ok()?;
    let output = child.wait_with_output().await.ok()?;
    group.ended();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find_map(|line| line.strip_prefix("hostname ")).map(str::to_owned)
}
