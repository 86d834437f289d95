//! Scripts on other machines: on this one, over a real sshd, through a jump host, and to balancers.

mod balancers;
mod bastion;
mod host_shell;
mod kept;
mod local;
mod relay;
mod shared_artifacts;
mod ssh;

use ship::config::{SshConfig, Transport};
use ship::remote::Target;
use ship_testing::sshd::Sshd;

/// Prints the process id of the sshd of this connection.
const PRINT_SSHD: &str = r#"pid=$PPID
while read -r _ name _ parent _ <"/proc/$pid/stat"; do
    case $name in "(sshd"*) break ;; esac
    pid=$parent
done
echo "$pid""#;

/// The target of an sshd for the current user, independent of the user's ssh configuration.
fn target_of(sshd: &Sshd) -> Target {
    Target {
        name: "web1".into(),
        address: "127.0.0.1".to_owned(),
        transport: Transport::Ssh,
        ssh: SshConfig {
            port: Some(sshd.port()),
            identity_file: Some(sshd.file("id")),
            config: Some(sshd.file("ssh_config")),
            known_hosts: Some(sshd.file("known_hosts")),
            ..SshConfig::default()
        },
        sudo_password: None,
        kept: None,
    }
}

/// [`target_of`], with other settings.
fn target_with(sshd: &Sshd, change: impl FnOnce(&mut SshConfig)) -> Target {
    let mut target = target_of(sshd);
    change(&mut target.ssh);
    target
}
