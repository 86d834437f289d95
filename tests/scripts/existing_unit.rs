//! The description of a unit that ship does not manage, with a `systemctl` that prints what it is
//! given.

use std::fs;
use std::net::TcpListener;

use ship::core::existing_unit::UnitListener;
use ship::script::{existing_unit, read_existing_unit};

use crate::host::{Host, shells};
use crate::systemd::moved;

/// A `systemctl` whose `show` and `cat` print these files.
fn fake_systemctl(host: &Host, show: &str, text: Option<&str>) {
    let dir = host.dir.path();
    fs::write(dir.join("show"), show).expect("our own file");
    let _ = fs::remove_file(dir.join("text"));
    if let Some(text) = text {
        fs::write(dir.join("text"), text).expect("our own file");
    }
    let dir = dir.display();
    let script =
        format!("case $1 in show) cat '{dir}/show' ;; cat) cat '{dir}/text' ;; *) exit 9 ;; esac");
    host.fake("systemctl", &script);
}

#[test]
fn properties_and_files_of_a_unit_are_printed_as_they_are() {
    for shell in shells() {
        let host = Host::with(shell);
        let text = "# /a\n[Service]\nExecStart=/bin/a \\\n\n  '$X' `x` \\n %i *\nend=done\n";
        let show =
            "Id=a.service\nLoadState=loaded\nEnvironment=\"A=b c\" X=$(false)\nControlGroup=\n";
        fake_systemctl(&host, show, Some(text));
        let printed = host.run(&moved(&host, existing_unit("a.service"))).stdout;
        let unit = read_existing_unit(&printed)
            .unwrap_or_else(|error| panic!("{shell:?}: {error}: {printed}"));
        assert_eq!(unit.text, text, "{shell:?}");
        assert_eq!(unit.property("Environment"), "\"A=b c\" X=$(false)");
        assert_eq!(unit.listeners, [], "{shell:?}: it has no processes");
        assert_eq!(unit.unreadable, None);
    }
}

#[test]
fn files_that_this_user_may_not_read_are_reported() {
    for shell in shells() {
        let host = Host::with(shell);
        fake_systemctl(&host, "Id=a.service\nLoadState=loaded\n", None);
        let printed = host.run(&moved(&host, existing_unit("a.service"))).stdout;
        let unit = read_existing_unit(&printed).expect("a description");
        let why = unit.unreadable.unwrap_or_default();
        assert!(why.contains("No such file"), "{shell:?}: {why}");
    }
}

#[test]
fn listeners_are_those_of_the_processes_in_the_control_group() {
    let group = fs::read_to_string("/proc/self/cgroup").expect("the groups of this process");
    let own = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = own.local_addr().expect("an address").port();
    for shell in shells() {
        let host = Host::with(shell);
        // The group of this test stands for that of a unit.
        let group = group.lines().find_map(|line| {
            let path = line.splitn(3, ':').nth(2)?;
            let is_there = ["", "systemd", "unified"].iter().any(|mount| {
                let file = format!("/sys/fs/cgroup/{mount}{path}/cgroup.procs");
                let pids = fs::read_to_string(file).unwrap_or_default();
                let own = std::process::id().to_string();
                pids.lines().any(|pid| pid == own)
            });
            is_there.then_some(path)
        });
        let Some(group) = group else {
            eprintln!("not run: this process is in no control group that can be read");
            return;
        };
        let show = format!("Id=a.service\nLoadState=loaded\nControlGroup={group}\n");
        fake_systemctl(&host, &show, Some("[Service]\n"));
        let printed = host.run(&moved(&host, existing_unit("a.service"))).stdout;
        let unit = read_existing_unit(&printed).expect("a description");
        let expected = UnitListener {
            port,
            is_loopback: true,
            is_own: true,
        };
        assert!(unit.listeners.contains(&expected), "{shell:?}: {printed}");
    }
}
