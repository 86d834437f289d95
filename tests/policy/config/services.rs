//! Kinds of services: slots without ports, several ports, units, signals, shared directories.

use std::time::Duration;

use ship::core::release::slots::{SlotPorts, Slots};
use ship::core::release::unit::{StopSignal, UnitSection};
use ship::core::release::{Check, Liveness};
use ship::core::spec::budget::Amount;
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

/// A service without ports.
fn worker() -> Files {
    files()
        .playbook("ports = [8081, 8082]", "slots = 2")
        .playbook("./web --port {{ port }}", "./work --slot {{ slot }}")
        .playbook("http = \"/healthz\"\n", "")
}

/// A service with two ports in each slot.
fn two_ports() -> Files {
    files().playbook(
        "ports = [8081, 8082]",
        "ports = [{ http = 8082, admin = 9082 }, { http = 8081, admin = 9081 }]",
    )
}

#[test]
fn worker_is_ready_when_it_has_run_for_10_seconds() {
    let playbook = worker().project().playbook;
    assert_eq!(playbook.service.slots, Slots::Count(2));
    assert_eq!(
        playbook.readiness.check,
        Check::Running(std::time::Duration::from_secs(10))
    );
}

#[test]
fn ports_together_with_slots_are_refused() {
    assert_data_eq!(
        files()
            .playbook("ports = [8081, 8082]", "ports = [8081, 8082]\nslots = 2")
            .report(),
        str![[r#"
error: a service has either `ports` or `slots`
 --> web.toml:6:1
  |
5 | ports = [8081, 8082]
  | ----- the ports
6 | slots = 2
  | ^^^^^
  |
  = help: leave out `slots`: each port is a slot; or leave out `ports` if the service does not listen
"#]].raw()
    );
}

#[test]
fn service_without_ports_and_slots_is_refused() {
    assert_data_eq!(
        files().playbook("ports = [8081, 8082]\n", "").report(),
        str![[r#"
error: missing key `ports` in [service]
 --> web.toml:2:1
  |
2 | [service]
  | ^^^^^^^^^
  |
  = help: for example: ports = [8081, 8082], or slots = 2 for a service without ports
"#]]
        .raw()
    );
}

#[test]
fn checks_of_a_port_are_refused_without_ports() {
    assert_data_eq!(
        worker()
            .playbook(
                "[readiness]\n",
                "[readiness]\nhttp = \"/\"\n[liveness]\ntcp = true\n"
            )
            .report(),
        str![[r#"
error: `http` needs a port, but the service has `slots` and no ports
  --> web.toml:11:8
   |
11 | http = "/"
   |        ^^^
   |
   = help: use running = "10s", notify = true or command = "…" instead

error: `tcp` needs a port, but the service has `slots` and no ports
  --> web.toml:13:7
   |
13 | tcp = true
   |       ^^^^
   |
   = help: use a `command` instead
"#]]
        .raw()
    );
}

#[test]
fn balancers_and_the_monitor_are_refused_without_ports() {
    let tables = "[traffic]\ndriver = \"haproxy\"\nsocket = \"/run/haproxy/admin.sock\"\n\
                  [monitor]\nurl = \"http://example.org/\"\n[rollout]";
    assert_data_eq!(
        worker().playbook("[rollout]", tables).report(),
        str![[r#"
error: [traffic] needs ports, but the service has `slots`: no load balancer sends it requests
  --> web.toml:11:2
   |
11 | [traffic]
   |  ^^^^^^^
   |
   = help: leave out [traffic]

error: [monitor] needs ports, but the service has `slots`: there are no requests to monitor
  --> web.toml:14:2
   |
14 | [monitor]
   |  ^^^^^^^
   |
   = help: leave out [monitor]
"#]]
        .raw()
    );
}

#[test]
fn analysis_of_requests_is_refused_without_ports() {
    let table = "[[analysis]]\nname = \"errors\"\nkind = \"compare\"\n[rollout]";
    let report = worker().playbook("[rollout]", table).report();
    assert!(
        report.starts_with(
            "error: `kind` compares requests, but the service has `slots` and no ports\n"
        ),
        "{report}"
    );
}

#[test]
fn port_template_is_refused_without_ports() {
    assert_data_eq!(
        worker().playbook("{{ slot }}", "{{ port }}").report(),
        str![[r#"
error: `port` has no value
 --> web.toml:4:29
  |
4 | command = "./work --slot {{ port }}"
  |                             ^^^^
  |
  = help: the service has `slots` and no ports; use `{{ slot }}`
"#]]
        .raw()
    );
}

#[test]
fn several_checks_are_refused_among_all_kinds() {
    assert_data_eq!(
        worker()
            .playbook(
                "[readiness]\n",
                "[readiness]\nrunning = \"5s\"\nnotify = true\n"
            )
            .report(),
        str![[r#"
error: readiness cannot have both `running` and `notify`
  --> web.toml:12:1
   |
11 | running = "5s"
   | ------- first check
12 | notify = true
   | ^^^^^^
   |
   = help: keep one; a `command` can check several things
"#]]
        .raw()
    );
}

#[test]
fn notify_needs_systemd() {
    assert_data_eq!(
        worker()
            .playbook("slots = 2", "slots = 2\ndriver = \"process\"")
            .playbook("[readiness]\n", "[readiness]\nnotify = true\n")
            .report(),
        str![[r#"
error: `notify` needs driver = "systemd", which receives READY=1
  --> web.toml:12:10
   |
12 | notify = true
   |          ^^^^
   |
   = help: use running = "10s" or a `command` instead
"#]]
        .raw()
    );
}

#[test]
fn notify_is_refused_with_a_type_that_does_not_report() {
    assert_data_eq!(
        worker()
            .playbook("[readiness]\n", "[readiness]\nnotify = true\n")
            .playbook(
                "[artifact]",
                "[systemd.Service]\nType = \"exec\"\n[artifact]"
            )
            .report(),
        str![[r#"
error: `notify` waits for READY=1, but the unit has Type=exec
  --> web.toml:13:10
   |
13 | notify = true
   |          ^^^^
   |
   = help: leave out `Type` in [systemd.Service]: ship writes Type=notify
"#]]
        .raw()
    );
}

#[test]
fn start_limits_are_refused_under_every_name() {
    for (section, name) in [
        ("Service", "StartLimitInterval"),
        ("Service", "StartLimitBurst"),
        ("Unit", "StartLimitIntervalSec"),
        ("Unit", "StartLimitAction"),
    ] {
        let table = format!("[systemd.{section}]\n{name} = 3\n[artifact]");
        let report = files().playbook("[artifact]", &table).report();
        let error = format!("error: `{section}` cannot set {name}: ship writes it");
        assert!(report.starts_with(&error), "{report}");
    }
}

#[test]
fn first_port_of_a_slot_is_its_number_and_the_default() {
    let files = two_ports()
        .playbook("{{ port }}", "{{ port }} --admin {{ ports.admin }}")
        .playbook(
            "http = \"/healthz\"",
            "http = \"/healthz\"\nport = \"admin\"\n[liveness]\ntcp = true\nport = \"http\"",
        );
    let playbook = files.project().playbook;
    let named = |http, admin| {
        SlotPorts::Named(vec![("http".to_owned(), http), ("admin".to_owned(), admin)])
    };
    assert_eq!(
        playbook.service.slots,
        Slots::Ports(vec![named(8082, 9082), named(8081, 9081)])
    );
    assert_eq!(playbook.readiness.port.as_deref(), Some("admin"));
    assert!(matches!(
        playbook.liveness,
        Some(Liveness { port: Some(port), .. }) if port == "http"
    ));
}

#[test]
fn unknown_port_name_is_refused_with_the_known_ones() {
    assert_data_eq!(
        two_ports()
            .playbook(
                "http = \"/healthz\"",
                "http = \"/healthz\"\nport = \"amdin\""
            )
            .playbook("{{ port }}", "{{ ports.grpc }}")
            .report(),
        str![[r#"
error: `ports.grpc` has no value
 --> web.toml:4:28
  |
4 | command = "./web --port {{ ports.grpc }}"
  |                            ^^^^^^^^^^
  |
  = help: valid ports: ports.http, ports.admin

error: `port` is not a port of the service: `amdin`
  --> web.toml:12:8
   |
12 | port = "amdin"
   |        ^^^^^^^
   |
   = help: the ports of the service are `admin`, `http`
"#]]
        .raw()
    );
}

#[test]
fn port_name_is_refused_if_the_ports_have_none() {
    assert_data_eq!(
        files()
            .playbook(
                "http = \"/healthz\"",
                "http = \"/healthz\"\nport = \"admin\""
            )
            .report(),
        str![[r#"
error: `port` is not a port of the service: `admin`
  --> web.toml:12:8
   |
12 | port = "admin"
   |        ^^^^^^^
   |
   = help: the ports have no names; for example: ports = [{ http = 8081, admin = 9081 }]
"#]]
        .raw()
    );
}

#[test]
fn slots_with_different_or_duplicate_ports_are_refused() {
    assert_data_eq!(
        files()
            .playbook(
                "ports = [8081, 8082]",
                "ports = [{ http = 8081, admin = 9081 }, { http = 8082, admin = 9081 }, 8083, { Http = 1 }, {}]",
            )
            .report(),
        str![[r#"
error: `ports` has port 9081 twice
 --> web.toml:5:41
  |
5 | ports = [{ http = 8081, admin = 9081 }, { http = 8082, admin = 9081 }, 8083, { Http = 1 }, {}]
  |                                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: each instance on a host needs its own ports

error: `ports` has slots with different ports
 --> web.toml:5:72
  |
5 | ports = [{ http = 8081, admin = 9081 }, { http = 8082, admin = 9081 }, 8083, { Http = 1 }, {}]
  |                                                                        ^^^^
  |
  = help: give every slot the same ports: `admin` and `http`

error: `ports` has an item that is not a port: it cannot begin with `H`: `Http`
 --> web.toml:5:80
  |
5 | ports = [{ http = 8081, admin = 9081 }, { http = 8082, admin = 9081 }, 8083, { Http = 1 }, {}]
  |                                                                                ^^^^
  |
  = help: the name of a port may have up to 30 characters: a to z, 0 to 9 and `_`, beginning with a letter

error: `ports` has an item that is not a port: it has no port
 --> web.toml:5:92
  |
5 | ports = [{ http = 8081, admin = 9081 }, { http = 8082, admin = 9081 }, 8083, { Http = 1 }, {}]
  |                                                                                            ^^
  |
  = help: for example: { http = 8081, admin = 9081 }
"#]].raw()
    );
}

#[test]
fn singleton_has_one_replica_and_no_surge() {
    let singleton = || {
        files()
            .playbook("ports", "singleton = true\nports")
            .playbook("max_surge = 1\n", "")
    };
    let rollout = singleton().project().playbook.rollout;
    assert_eq!(
        (rollout.replicas, rollout.max_surge, rollout.max_unavailable),
        (Some(1), Amount::Count(0), Amount::Count(1))
    );
    let report = |key: &str| {
        singleton()
            .playbook("[rollout]", &format!("[rollout]\n{key}"))
            .report()
    };
    assert_data_eq!(
        report("replicas = 2"),
        str![[r#"
error: `replicas` must be 1 for a singleton
  --> web.toml:14:12
   |
14 | replicas = 2
   |            ^
   |
   = help: write `replicas = 1`, or remove `singleton`
"#]]
        .raw()
    );
    assert_data_eq!(
        report("max_surge = 1"),
        str![[r#"
error: `max_surge` must be 0 for a singleton
  --> web.toml:14:13
   |
14 | max_surge = 1
   |             ^
   |
   = help: write `max_surge = 0`: the old instance stops before the new one starts
"#]]
        .raw()
    );
}

#[test]
fn linger_that_a_host_cannot_count_is_refused() {
    let report = |linger: &str| {
        let line = format!("linger = \"{linger}\"\nports");
        files().playbook("ports", &line).report()
    };
    assert_data_eq!(
        report("1500ms"),
        str![[r#"
error: `linger` must be whole seconds
 --> web.toml:5:10
  |
5 | linger = "1500ms"
  |          ^^^^^^^^
  |
  = help: for example "90s"
"#]]
        .raw()
    );
    assert_data_eq!(
        report("0s"),
        str![[r#"
error: `linger` must be longer than 0
 --> web.toml:5:10
  |
5 | linger = "0s"
  |          ^^^^
  |
  = help: for example "1s"
"#]]
        .raw()
    );
    assert_data_eq!(
        report("400d"),
        str![[r#"
error: `linger` is longer than a year
 --> web.toml:5:10
  |
5 | linger = "400d"
  |          ^^^^^^
  |
  = help: write a number and a unit (ms, s, m, h or d), for example "500ms", "30s" or "1h30m"
"#]]
        .raw()
    );
    let day = files().playbook("ports", "linger = \"1d\"\nports");
    assert_eq!(
        day.project().playbook.service.linger,
        Some(Duration::from_hours(24))
    );
}

#[test]
fn unknown_signal_is_refused_with_the_known_ones() {
    assert_data_eq!(
        files()
            .playbook("ports", "stop_signal = \"KILL\"\nports")
            .report(),
        str![[r#"
error: `stop_signal` must be "TERM" or "INT" or "QUIT" or "HUP" or "USR1" or "USR2" or "TSTP" or "WINCH", not `KILL`
 --> web.toml:5:15
  |
5 | stop_signal = "KILL"
  |               ^^^^^^
  |
  = help: write "TERM" or "INT" or "QUIT" or "HUP" or "USR1" or "USR2" or "TSTP" or "WINCH"
"#]].raw()
    );
    let quit = files().playbook("ports", "stop_signal = \"QUIT\"\nports");
    assert_eq!(
        quit.project().playbook.service.stop_signal,
        StopSignal::Quit
    );
}

#[test]
fn directives_are_read_as_systemd_writes_them() {
    let files = files().playbook(
        "[artifact]",
        "[systemd.Service]\nMemoryMax = \"512M\"\nLimitNOFILE = 65536\nPrivateTmp = true\n\
         ReadWritePaths = [\"/srv/a\", \"/srv/{{ port }}\"]\n[systemd.Unit]\n\
         After = \"postgresql.service\"\n[artifact]",
    );
    let directives = files.project().playbook.systemd;
    let service: Vec<_> = directives.in_section(UnitSection::Service).collect();
    assert_eq!(
        service,
        [
            ("LimitNOFILE", "65536"),
            ("MemoryMax", "512M"),
            ("PrivateTmp", "yes"),
            ("ReadWritePaths", "/srv/a"),
            ("ReadWritePaths", "/srv/{{ port }}"),
        ]
    );
    assert_eq!(
        directives.get(UnitSection::Unit, "After"),
        Some("postgresql.service")
    );
}

#[test]
fn directives_that_ship_owns_are_refused_with_the_reason() {
    assert_data_eq!(
        files()
            .playbook(
                "[artifact]",
                "[systemd.Service]\nUser = \"app\"\nType = \"forking\"\nRestart = \"no\"\n\
                 memoryMax = \"1G\"\nNice = 1.5\n[systemd.Unit]\nStartLimitBurst = 3\n\
                 [systemd.Install]\nAlias = \"web.service\"\n[artifact]",
            )
            .report(),
        str![[r#"
error: `Service` cannot set User: ship writes it
 --> web.toml:9:1
  |
9 | User = "app"
  | ^^^^
  |
  = help: set `user` in [service]

error: ship cannot supervise a service of type `forking`
  --> web.toml:10:8
   |
10 | Type = "forking"
   |        ^^^^^^^^^
   |
   = help: run the service in the foreground, with Type = "simple", "exec" or "notify"

error: `Service` cannot set Restart: ship writes it
  --> web.toml:11:1
   |
11 | Restart = "no"
   | ^^^^^^^
   |
   = help: ship counts on systemd to restart an instance that exits

error: `Service` has a key that is not a directive: it cannot begin with `m`: `memoryMax`
  --> web.toml:12:1
   |
12 | memoryMax = "1G"
   | ^^^^^^^^^
   |
   = help: a directive may have up to 60 characters: letters, digits and `-`, beginning with a capital letter, as in MemoryMax

error: `Nice` of `Service` must be a text, a number, true or false, not a number with a fraction
  --> web.toml:13:8
   |
13 | Nice = 1.5
   |        ^^^
   |
   = help: as after `=` in a unit file; a list repeats the directive

error: `Unit` cannot set StartLimitBurst: ship writes it
  --> web.toml:15:1
   |
15 | StartLimitBurst = 3
   | ^^^^^^^^^^^^^^^
   |
   = help: systemd must not give up restarting an instance

error: unknown key `Install` in [systemd]
  --> web.toml:16:10
   |
16 | [systemd.Install]
   |          ^^^^^^^
   |
   = help: valid keys: Service, Unit
"#]].raw()
    );
}

#[test]
fn directives_need_systemd() {
    assert_data_eq!(
        files()
            .playbook("ports", "driver = \"process\"\nports")
            .playbook(
                "[artifact]",
                "[systemd.Service]\nMemoryMax = \"1G\"\n[artifact]"
            )
            .report(),
        str![[r#"
error: [systemd] needs driver = "systemd"
 --> web.toml:9:2
  |
9 | [systemd.Service]
  |  ^^^^^^^
  |
  = help: leave out [systemd], or the `driver` of [service]
"#]]
        .raw()
    );
}

#[test]
fn shared_dirs_outside_the_release_are_refused() {
    assert_data_eq!(
        files()
            .playbook(
                "ports",
                "shared_dirs = [\"../uploads\", \"/srv/data\", \".\", \"a b\"]\nports"
            )
            .report(),
        str![[r#"
error: `shared_dirs` climbs out of the release: `../uploads`
 --> web.toml:5:16
  |
5 | shared_dirs = ["../uploads", "/srv/data", ".", "a b"]
  |                ^^^^^^^^^^^^
  |
  = help: write a path below the directory of the release, for example "uploads"

error: `shared_dirs` must be a path within the release: `/srv/data`
 --> web.toml:5:30
  |
5 | shared_dirs = ["../uploads", "/srv/data", ".", "a b"]
  |                              ^^^^^^^^^^^
  |
  = help: write a path below the directory of the release, for example "uploads"

error: `shared_dirs` is the release itself: `.`
 --> web.toml:5:43
  |
5 | shared_dirs = ["../uploads", "/srv/data", ".", "a b"]
  |                                           ^^^
  |
  = help: write a path below the directory of the release, for example "uploads"

error: `shared_dirs` cannot contain ` `: `a b`
 --> web.toml:5:48
  |
5 | shared_dirs = ["../uploads", "/srv/data", ".", "a b"]
  |                                                ^^^^^
  |
  = help: a shared directory may have up to 200 characters: letters, digits, `.`, `_`, `-` and `/`, beginning with a letter, a digit, `.` or `_`
"#]].raw()
    );
}

#[test]
fn shared_dirs_that_overlap_are_refused() {
    assert_data_eq!(
        files()
            .playbook("ports", "shared_dirs = [\"var/cache\", \"./var//\"]\nports")
            .report(),
        str![[r#"
error: `var/cache` and `var` overlap
 --> web.toml:5:29
  |
5 | shared_dirs = ["var/cache", "./var//"]
  |                -----------  ^^^^^^^^^
  |                |
  |                the other
  |
  = help: keep the outer one: it contains the other
"#]]
        .raw()
    );
}

#[test]
fn reload_needs_systemd_and_a_process_that_does_not_use_the_version() {
    const RELOAD: &str = "reload = \"kill -HUP $MAINPID\"\nports";
    let without_version = || files().playbook("VERSION = \"{{ version }}\"", "");
    assert_data_eq!(
        without_version()
            .playbook("ports", &format!("driver = \"process\"\n{RELOAD}"))
            .report(),
        str![[r#"
error: `reload` needs driver = "systemd"
 --> web.toml:6:10
  |
6 | reload = "kill -HUP $MAINPID"
  |          ^^^^^^^^^^^^^^^^^^^^
  |
  = help: leave it out
"#]]
        .raw()
    );
    let directive = "[systemd.Service]\nDescription = \"web {{ version }}\"\n[artifact]";
    assert_data_eq!(
        files()
            .playbook("ports", RELOAD)
            .playbook("[artifact]", directive)
            .report(),
        str![[r#"
error: a service with `reload` cannot use {{ version }} here: a reloaded process keeps its command, environment and unit
 --> web.toml:8:11
  |
8 | VERSION = "{{ version }}"
  |           ^^^^^^^^^^^^^^^
  |
  = help: write the version to a file of the release, or leave out `reload`

error: a service with `reload` cannot use {{ version }} here: a reloaded process keeps its command, environment and unit
  --> web.toml:10:15
   |
10 | Description = "web {{ version }}"
   |               ^^^^^^^^^^^^^^^^^^^
   |
   = help: write the version to a file of the release, or leave out `reload`
"#]].raw()
    );
    let directive = "[systemd.Service]\nExecReload = \"/bin/true\"\n[artifact]";
    assert_data_eq!(
        files().playbook("[artifact]", directive).report(),
        str![[r#"
error: `Service` cannot set ExecReload: ship writes it
 --> web.toml:9:1
  |
9 | ExecReload = "/bin/true"
  | ^^^^^^^^^^
  |
  = help: set `reload` in [service]
"#]]
        .raw()
    );
    assert_data_eq!(
        files().playbook("ports", "reload = \"\"\nports").report(),
        str![[r#"
error: `reload` must not be empty
 --> web.toml:5:10
  |
5 | reload = ""
  |          ^^
"#]]
        .raw()
    );
}

#[test]
fn reload_may_use_labels_and_the_checks_the_version() {
    let files = files()
        .playbook(
            "VERSION = \"{{ version }}\"",
            "ZONE = \"{{ labels.version }}\"",
        )
        .playbook("ports", "reload = \"kill -HUP $MAINPID\"\nports")
        .playbook(
            "http = \"/healthz\"",
            "http = \"/healthz\"\nbody = \"{{ version }}\"",
        )
        .inventory("zone = \"a\"", "version = \"1\"")
        .inventory("address", "labels = { version = \"2\" }\naddress");
    assert_eq!(
        files.project().playbook.service.reload,
        ["kill", "-HUP", "$MAINPID"]
    );
}
