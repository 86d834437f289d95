//! `ship adopt`: the playbooks of units that real hosts have described, and of those that cannot be
//! adopted. `recorded` has the output of the script on Debian 12.

use std::fs;
use std::path::{Path, PathBuf};

use ship::config::{
    AdoptedHost, AdoptedService, Overrides, Project, Source, UnitRefusal, UnitSite, adopt_unit,
    adopted_inventory, load_with,
};
use ship::core::existing_unit::ExistingUnit;
use ship::core::release::unit::{StopSignal, UnitSection};
use ship::core::release::{Check, Via};
use ship::script::read_existing_unit;

const REMOTE: UnitSite<'_> = UnitSite {
    host: "deploy@web1",
    is_local: false,
};
const LOCAL: UnitSite<'_> = UnitSite {
    host: "this machine",
    is_local: true,
};

/// The units that can be adopted.
const ADOPTABLE: [&str; 7] = [
    "api",
    "api-unprivileged",
    "cron",
    "haproxy",
    "redis-server",
    "web",
    "worker@mail",
];

fn recorded(name: &str) -> ExistingUnit {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/adoption/recorded");
    let text = fs::read_to_string(dir.join(format!("{name}.txt"))).expect("a recorded unit");
    read_existing_unit(&text).expect("a complete description")
}

fn adopted(name: &str, site: &UnitSite<'_>) -> AdoptedService {
    adopt_unit(&recorded(name), site).unwrap_or_else(|refusal| panic!("{name}: {refusal}"))
}

fn refusal(name: &str) -> String {
    match adopt_unit(&recorded(name), &REMOTE) {
        Ok(adopted) => panic!("{name} was adopted:\n{}", adopted.playbook),
        Err(refusal) => refusal.to_string(),
    }
}

/// The project of the written files, as `ship plan` reads it.
fn project(service: &AdoptedService, site: &UnitSite<'_>) -> Project {
    let address = (!site.is_local).then(|| "web1".to_owned());
    let user = address.is_some().then(|| "deploy".to_owned());
    let hosts = [AdoptedHost { user, address }];
    let inventory = adopted_inventory(&service.unit, &hosts, "playbook.toml", !site.is_local);
    let read = |path: &Path| {
        let is_playbook = path == Path::new("playbook.toml");
        let text = if is_playbook {
            &service.playbook
        } else {
            &inventory
        };
        Ok(text.clone().into_bytes())
    };
    load_with(Path::new("inventory.toml"), &Overrides::default(), read).unwrap_or_else(|found| {
        panic!("{}\n{}", found.render(false), service.playbook);
    })
}

fn remote_project(name: &str) -> Project {
    project(&adopted(name, &REMOTE), &REMOTE)
}

/// A unit with these lines in `[Service]`. What `systemctl show` would print is left out.
fn written(lines: &str, properties: &[(&str, &str)]) -> ExistingUnit {
    let always = [
        ("Id", "demo.service"),
        ("LoadState", "loaded"),
        ("ActiveState", "active"),
        ("Type", "simple"),
        ("TimeoutStopUSec", "1min 30s"),
        ("KillSignal", "15"),
    ];
    let properties = always.iter().chain(properties);
    ExistingUnit {
        properties: properties
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        text: format!("# /etc/systemd/system/demo.service\n[Service]\n{lines}"),
        ..ExistingUnit::default()
    }
}

#[test]
fn every_adopted_unit_gives_files_that_ship_reads() {
    for name in ADOPTABLE {
        for site in [REMOTE, LOCAL] {
            let service = adopted(name, &site);
            let project = project(&service, &site);
            assert_eq!(project.inventory.hosts.len(), 1, "{name}");
            let long = service
                .playbook
                .lines()
                .find(|line| line.starts_with('#') && line.chars().count() > 128);
            assert_eq!(long, None, "{name}");
        }
    }
}

#[test]
fn redis_keeps_its_program_and_takes_its_configuration_along() {
    let service = adopted("redis-server", &REMOTE);
    assert_eq!(service.ports, [6379]);
    assert_eq!(service.user, "redis");
    let expected = include_str!("redis.toml");
    assert_eq!(service.playbook, expected);
    let project = project(&adopted("redis-server", &LOCAL), &LOCAL);
    assert_eq!(
        project.playbook.artifact.source,
        Source::Path(PathBuf::from("/etc/redis"))
    );
}

#[test]
fn gunicorn_gets_its_port_reload_and_readiness() {
    let project = remote_project("web");
    let service = &project.playbook.service;
    assert_eq!(
        service.command,
        [
            "/usr/bin/gunicorn",
            "--bind",
            "0.0.0.0:{{ port }}",
            "--workers",
            "2",
            "--name",
            "my web",
            "web:app"
        ]
    );
    assert_eq!(service.reload, ["/bin/kill", "-s", "HUP", "$MAINPID"]);
    assert_eq!(service.user.as_deref(), Some("www-data"));
    assert_eq!(service.stop_timeout.as_secs(), 5);
    assert_eq!(project.playbook.readiness.check, Check::Notify);
    let local = adopted("web", &LOCAL).playbook;
    assert!(local.contains("\nsource = \"/srv/web\"\n"), "{local}");
}

#[test]
fn service_of_two_ports_gets_templates_in_command_and_environment() {
    let project = remote_project("api");
    let service = &project.playbook.service;
    assert_eq!(
        service.command,
        ["./api", "-listen", ":{{ port }}", "-config=config.toml"]
    );
    assert_eq!(service.env["ADMIN_ADDR"], "127.0.0.1:{{ ports.p9001 }}");
    assert_eq!(service.stop_signal, StopSignal::Quit);
    assert_eq!(
        service.reload, [""; 0],
        "a program of the release does not find the next one"
    );
    let directives = &project.playbook.systemd;
    let get = |section, name| directives.get(section, name);
    assert_eq!(get(UnitSection::Service, "CPUQuota"), Some("200%"));
    assert_eq!(get(UnitSection::Service, "MemoryMax"), Some("1G"));
    assert_eq!(
        get(UnitSection::Unit, "Requires"),
        Some("postgresql.service")
    );
    let text = adopted("api", &REMOTE).playbook;
    let old_places =
        "# These settings still name the old place of these files: CONFIG, ExecStartPre.";
    assert!(text.contains(old_places), "{text}");
}

#[test]
fn hidden_ports_are_those_of_the_command() {
    let service = adopted("api-unprivileged", &REMOTE);
    assert_eq!(service.ports, [9000, 9001]);
    assert!(
        service.notes[0].contains("pass --sudo"),
        "{:?}",
        service.notes
    );
}

#[test]
fn secrets_are_named_and_never_copied() {
    let service = adopted("worker@mail", &REMOTE);
    let project = project(&service, &REMOTE);
    let names = project.playbook.service.secrets.names.iter();
    let names: Vec<_> = names.map(|name| name.value.as_str()).collect();
    assert_eq!(names, ["PASSWORD", "API_TOKEN", "DATABASE_URL"]);
    for secret in ["hunter2", "s3cr3t"] {
        assert!(!service.playbook.contains(secret), "{}", service.playbook);
        assert!(!service.notes.concat().contains(secret));
    }
    assert!(!adopted("api", &REMOTE).playbook.contains("abc"));
}

#[test]
fn quotes_specifiers_variables_and_drop_ins_are_kept() {
    let project = remote_project("worker@mail");
    let service = &project.playbook.service;
    assert_eq!(service.name, "worker-mail");
    assert_eq!(
        service.command,
        [
            "/bin/sh",
            "-c",
            "set -f; exec ./worker --queue mail $OPTIONS \"--greeting=${GREETING}\" \
             \"two  words; and \\$HOME\" --password \"${PASSWORD}\""
        ]
    );
    assert_eq!(service.env["GREETING"], "hello world");
    assert_eq!(service.env["QUEUE"], "mail");
    assert_eq!(service.env["QUOTED"], "it's \"so\"");
    assert_eq!(service.env["BRACES"], "{{ \"{{\" }} x }}");
    assert_eq!(service.env["DOLLAR"], "a$$b");
    let get = |name| project.playbook.systemd.get(UnitSection::Service, name);
    assert_eq!(get("LimitNOFILE"), Some("65536"), "of the drop-in");
    assert_eq!(get("StateDirectory"), Some("worker"));
    assert_eq!(get("EnvironmentFile"), Some("-/etc/default/worker"));
    assert_eq!(service.stop_timeout.as_secs(), 90);
}

#[test]
fn what_is_not_taken_over_is_listed_with_its_reason() {
    let text = adopted("cron", &REMOTE).playbook;
    let (_, list) = text.split_once("# Not taken over:\n").expect("a list");
    for name in [
        "Service.KillMode",
        "Service.Restart",
        "Unit.Description",
        "[Install]",
    ] {
        assert!(list.contains(&format!("# - {name}: ")), "{list}");
    }
    assert!(text.contains("\nslots = 1 "), "{text}");
    let unit = written(
        "ExecStart=/bin/a\nExecReload=/bin/b\nExecReload=/bin/c\nUser=1000\nKillSignal=SIGABRT\n",
        &[("User", "1000"), ("KillSignal", "6")],
    );
    let service = adopt_unit(&unit, &REMOTE).expect("a playbook");
    for name in ["ExecReload", "User", "KillSignal"] {
        assert!(
            service.playbook.contains(&format!("# - Service.{name}: ")),
            "{}",
            service.playbook
        );
    }
    project(&service, &REMOTE);
}

#[test]
fn units_that_ship_cannot_run_are_refused_with_the_next_step() {
    for (name, why, hint) in [
        ("nginx", "Type=forking", "in the foreground"),
        ("postgresql@15-main", "Type=forking", "in the foreground"),
        ("postgresql", "Type=oneshot", "whose process serves"),
        ("sock", "sock.socket starts it", "disable the socket"),
        ("stopped", "not running (inactive)", "systemctl start"),
        ("masked", "masked", "systemctl unmask"),
        ("missing", "no such unit", "systemctl list-units"),
    ] {
        let refusal = refusal(name);
        let (first, second) = refusal.split_once("\nhint: ").expect("a hint");
        assert!(first.contains(why), "{name}: {first}");
        assert!(second.contains(hint), "{name}: {second}");
    }
}

#[test]
fn unit_that_cannot_be_read_is_refused() {
    let refused = |unit: &ExistingUnit| adopt_unit(unit, &REMOTE).expect_err("a refusal");
    let mut unit = written("ExecStart=/bin/a\n", &[]);
    unit.unreadable = Some("permission denied".to_owned());
    let refusal = refused(&unit);
    assert_eq!(refusal, UnitRefusal::Unreadable("permission denied".into()));
    let ended = written("ExecStart=/bin/a\n", &[("MainPID", "0")]);
    assert!(
        refused(&ended)
            .to_string()
            .contains("its process has ended")
    );
    let own = written(
        "# Written by ship for the service x.\nExecStart=/bin/a\n",
        &[],
    );
    assert_eq!(refused(&own), UnitRefusal::OwnUnit);
    for lines in ["", "ExecStart=\n", "ExecStart=/bin/a 'open\n"] {
        let refusal = refused(&written(lines, &[]));
        assert!(matches!(refusal, UnitRefusal::Command(_)), "{refusal}");
    }
}

#[test]
fn shell_enters_a_directory_other_than_the_artifact() {
    let unit = written(
        "ExecStart=/usr/bin/app --port 80\nWorkingDirectory=/var/lib/app\n",
        &[("WorkingDirectory", "/var/lib/app")],
    );
    let service = adopt_unit(&unit, &LOCAL).expect("a playbook");
    let project = project(&service, &LOCAL);
    assert_eq!(
        project.playbook.service.command,
        [
            "/bin/sh",
            "-c",
            "cd /var/lib/app && exec /usr/bin/app --port 80"
        ]
    );
}

#[test]
fn service_on_the_loopback_address_is_probed_through_ssh() {
    let mut unit = recorded("redis-server");
    unit.properties.insert("Type".into(), "simple".into());
    let remote = adopt_unit(&unit, &REMOTE).expect("a playbook");
    assert_eq!(project(&remote, &REMOTE).playbook.readiness.via, Via::Ssh);
    let local = adopt_unit(&unit, &LOCAL).expect("a playbook");
    assert_eq!(project(&local, &LOCAL).playbook.readiness.via, Via::Direct);
}

#[test]
fn text_of_a_host_cannot_add_keys_to_the_playbook() {
    let unit = written(
        "ExecStart=/bin/a \"x\\ny = 1\"\n",
        &[
            ("Environment", "$'A=x\\ny = 1' B={% raw"),
            ("User", "x\"\ny=1"),
        ],
    );
    assert!(adopt_unit(&unit, &REMOTE).is_err());
    let unit = written(
        "ExecStart=/bin/a '{{ 7' \"'''\" '\"\"\"' \\\\ \u{e4}\nNice=5 {{ x }}\nX y=1\n\
         Slice=a\\\\\n",
        &[("Environment", "$'A=x\\ny = 1' \"B={% raw\" C={#")],
    );
    let service = adopt_unit(&unit, &REMOTE).expect("a playbook");
    let project = project(&service, &REMOTE);
    let env = &project.playbook.service.env;
    assert_eq!(
        env.keys().map(String::as_str).collect::<Vec<_>>(),
        ["B", "C"]
    );
    assert_eq!(project.playbook.service.command.len(), 6);
}
