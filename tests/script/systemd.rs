//! The systemd driver's scripts, as far as they can be tried without systemd.

use std::time::Duration;

use ship::core::names::InstanceId;
use ship::core::release::Driver;
use ship::script::{Halt, Launch, check, observe, start, stop, tail};

use crate::host::{Host, Release, shells};

fn launch(host: &Host, release: &Release) -> Launch {
    Launch { driver: Driver::Systemd, ..host.launch("a", release) }
}

#[test]
fn every_shell_understands_the_scripts() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        let halt = Halt { port: host.port, instance: InstanceId::from("a"), stop_timeout: Duration::from_secs(1) };
        let scripts = [
            observe(&host.site),
            start(&host.site, &launch(&host, &release)),
            stop(&host.site, &halt),
            tail(&host.site, host.port, 5),
            check(&host.site, Driver::Systemd, Some("app")),
        ];
        for mut script in scripts {
            script.text.insert_str(0, "set -n\n");
            let output = host.command(&script).output().expect("a shell");
            assert!(output.status.success() && output.stderr.is_empty(), "{shell:?}: {output:?}");
        }
    }
}

#[test]
fn without_systemd_a_start_is_refused_with_advice() {
    if std::path::Path::new("/run/systemd/system").exists() {
        eprintln!("not run: systemd runs on this machine");
        return;
    }
    let host = Host::new();
    let release = Release::new("hello");
    host.stage(&release);
    let refused = host.run(&start(&host.site, &launch(&host, &release)));
    let advice = "systemd does not run on this host: driver = \"process\" needs none";
    assert_eq!(refused.failure(), advice);
    assert!(refused.reply().observation.slots.is_empty());
}
