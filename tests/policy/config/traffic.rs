//! `[traffic]` and `[[balancers]]`.

use std::time::Duration;

use ship::config::{
    AdminSocket, CommandConfig, HaproxyConfig, NftablesConfig, NginxConfig, Servers, TrafficConfig,
    TrafficDriver,
};
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

const HAPROXY: &str = "driver = \"haproxy\"\nsocket = \"/run/haproxy/admin.sock\"";

/// The files with a balancer, and a `[traffic]` table that contains these lines, from line 12 of the
/// playbook on.
fn with(lines: &str) -> Files {
    without_balancer(lines).inventory("[[hosts]]", "[[balancers]]\nname = \"lb1\"\n[[hosts]]")
}

fn without_balancer(lines: &str) -> Files {
    files().playbook("[rollout]", &format!("[traffic]\n{lines}\n[rollout]"))
}

fn driver(lines: &str) -> TrafficDriver {
    with(lines)
        .project()
        .playbook
        .traffic
        .expect("a table")
        .driver
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn config_has_no_balancers_by_default() {
    let project = files().project();
    assert_eq!(
        (project.playbook.traffic, project.inventory.balancers),
        (None, Vec::new())
    );
}

#[test]
fn each_driver_has_its_own_keys_and_defaults() {
    let haproxy = HaproxyConfig {
        socket: AdminSocket::Path("/run/haproxy/admin.sock".into()),
        backend: "web".into(),
        server: "{{ host }}-{{ port }}".into(),
        servers: Servers::Static,
        server_options: String::new(),
    };
    let traffic = TrafficConfig {
        port: None,
        driver: TrafficDriver::Haproxy(haproxy.clone()),
        drain_timeout: Duration::from_secs(30),
    };
    let project = with(HAPROXY).project();
    assert_eq!(project.playbook.traffic, Some(traffic));
    let [balancer] = &project.inventory.balancers[..] else {
        panic!("one balancer")
    };
    assert_eq!(
        (balancer.name.as_str(), balancer.ssh.user.as_deref()),
        ("lb1", Some("deploy"))
    );

    let all = "driver = \"haproxy\"\nsocket = \"127.0.0.1:9999\"\nbackend = \"pages\"\n\
               server = \"{{ labels.zone }}_{{ host }}_{{ port }}\"\nservers = \
               \"dynamic\"\ndrain_timeout = \"1m\"\n\
               server_options = \"maxconn 100 send-proxy\"";
    let labelled = with(all).inventory(
        "name = \"web2\"",
        "name = \"web2\"\nlabels = { zone = \"b\" }",
    );
    let traffic = labelled.project().playbook.traffic.expect("a table");
    let expected = HaproxyConfig {
        socket: AdminSocket::Port {
            address: "127.0.0.1".into(),
            port: 9999,
        },
        backend: "pages".into(),
        server: "{{ labels.zone }}_{{ host }}_{{ port }}".into(),
        servers: Servers::Dynamic,
        server_options: "maxconn 100 send-proxy".into(),
    };
    assert_eq!(
        (traffic.driver, traffic.drain_timeout.as_secs()),
        (TrafficDriver::Haproxy(expected), 60)
    );

    let nginx = NginxConfig {
        include: "/etc/nginx/ship/web.conf".into(),
        upstream: "web".into(),
        test: words("nginx -t"),
        reload: words("nginx -s reload"),
    };
    let lines = "driver = \"nginx\"\ninclude = \"/etc/nginx/ship/web.conf\"";
    assert_eq!(driver(lines), TrafficDriver::Nginx(nginx));

    let lines = "driver = \"command\"\nadmit = \"lb add {{ host }}:{{ port }}\"\ndrain = \"lb del \
                 {{ host }}\"\n\
                 remaining = \"lb count {{ host }}\"\ncut = \"lb cut\"";
    let command = CommandConfig {
        admit: ["lb", "add", "{{ host }}:{{ port }}"]
            .map(str::to_owned)
            .to_vec(),
        drain: ["lb", "del", "{{ host }}"].map(str::to_owned).to_vec(),
        remaining: ["lb", "count", "{{ host }}"].map(str::to_owned).to_vec(),
        cut: Some(words("lb cut")),
    };
    assert_eq!(driver(lines), TrafficDriver::Command(command));

    let files = without_balancer("driver = \"nftables\"\nport = 80");
    let nftables = files.project().playbook.traffic.expect("a table").driver;
    assert_eq!(
        nftables,
        TrafficDriver::Nftables(NftablesConfig { port: 80 })
    );
}

#[test]
fn public_port_must_not_be_a_port_of_the_service() {
    assert_data_eq!(
        without_balancer("driver = \"nftables\"\nport = 8081").report(),
        str![[r#"
error: port 8081 is a port of the service itself
  --> web.toml:14:8
   |
14 | port = 8081
   |        ^^^^
   |
   = help: choose a public port on which no instance listens
"#]]
        .raw()
    );
}

#[test]
fn key_of_another_driver_is_unknown() {
    assert_data_eq!(
        with(&format!("{HAPROXY}\nport = 80\nsever = \"a\"")).report(),
        str![[r#"
error: `port` must be the name of a port, not its number
  --> web.toml:15:8
   |
15 | port = 80
   |        ^^
   |
   = help: for example: ports = [{ http = 8081, admin = 9081 }] and port = "admin"

error: unknown key `sever` in [traffic]
  --> web.toml:16:1
   |
16 | sever = "a"
   | ^^^^^
   |
   = help: did you mean `server`?
"#]]
        .raw()
    );
}

#[test]
fn invalid_socket_is_refused() {
    assert_data_eq!(
        with("driver = \"haproxy\"\nsocket = \"haproxy.sock\"").report(),
        str![[r#"
error: `socket` must be the path of a socket, or an address with a port
  --> web.toml:14:10
   |
14 | socket = "haproxy.sock"
   |          ^^^^^^^^^^^^^^
   |
   = help: write it as in the `stats socket` line of haproxy.cfg, for example "/run/haproxy/admin.sock" or "127.0.0.1:9999"
"#]]
        .raw()
    );
}

#[test]
fn driver_and_balancers_must_match() {
    assert_data_eq!(
        without_balancer(HAPROXY).report(),
        str![[r#"
error: the inventory has no balancers
  --> web.toml:13:10
   |
13 | driver = "haproxy"
   |          ^^^^^^^^^
   |
   = help: add them to the inventory:
           [[balancers]]
           name = "lb1"
           address = "192.168.72.10"
"#]]
        .raw()
    );
    let unused = files().inventory("[[hosts]]", "[[balancers]]\nname = \"lb1\"\n[[hosts]]");
    assert_data_eq!(
        unused.report(),
        str![[r#"
error: the inventory has balancers, but the playbook has no [traffic]
 --> fleet.toml:6:1
  |
6 | [[balancers]]
  | ^^^^^^^^^^^^^
  |
  = help: add [traffic] to the playbook, for example with driver = "haproxy", or leave out [[balancers]]
"#]]
        .raw()
    );
    assert_data_eq!(
        with("driver = \"nftables\"\nport = 80").report(),
        str![[r#"
error: the inventory has balancers, but with this driver each host is its own balancer
 --> fleet.toml:6:1
  |
6 | [[balancers]]
  | ^^^^^^^^^^^^^
  |
  = help: leave out [[balancers]], or use another driver in [traffic]
"#]]
        .raw()
    );
}

#[test]
fn duplicate_balancer_name_is_refused() {
    let twice = with(HAPROXY).inventory(
        "name = \"lb1\"",
        "name = \"web2\"\n[[balancers]]\nname = \"lb2\"\n[[balancers]]\nname = \"lb2\"",
    );
    assert_data_eq!(
        twice.report(),
        str![[r#"
error: a host and a balancer are named `web2`
  --> fleet.toml:7:8
   |
 7 | name = "web2"
   |        ^^^^^^
...
16 | name = "web2"
   |        ------ first used here
   |
   = help: give each balancer a unique name

error: two balancers are named `lb2`
  --> fleet.toml:11:8
   |
 9 | name = "lb2"
   |        ----- first used here
10 | [[balancers]]
11 | name = "lb2"
   |        ^^^^^
   |
   = help: give each balancer a unique name
"#]]
        .raw()
    );
}

#[test]
fn each_slot_needs_its_own_server() {
    let server = |template: &str| with(&format!("{HAPROXY}\nserver = \"{template}\"")).report();
    assert_data_eq!(
        server("{{ host }}"),
        str![[r#"
error: web1:8081 and web1:8082 would be the same server, `web1`
  --> web.toml:15:10
   |
15 | server = "{{ host }}"
   |          ^^^^^^^^^^^^
   |
   = help: give each slot its own server, for example "{{ host }}-{{ port }}"
"#]]
        .raw()
    );
    assert_data_eq!(
        server("{{ host }}-{{ port }}-{{ version }}"),
        str![[r#"
error: the server of a slot cannot depend on the version
  --> web.toml:15:10
   |
15 | server = "{{ host }}-{{ port }}-{{ version }}"
   |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: leave out {{ version }}; {{ host }} and {{ port }} distinguish slots
"#]]
        .raw()
    );
    assert_data_eq!(server("{{ host }}/{{ port }}"), str![[r#"
error: the server name of web1:8081 cannot contain `/`: `web1/8081`
  --> web.toml:15:10
   |
15 | server = "{{ host }}/{{ port }}"
   |          ^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: a name in a balancer may have up to 200 characters: letters, digits, `.`, `_`, `-` and `:`, beginning with a letter, a digit or `_`
"#]].raw());
    assert_data_eq!(
        server("{{ hots }}-{{ port }}"),
        str![[r#"
error: unknown variable `hots`
  --> web.toml:15:14
   |
15 | server = "{{ hots }}-{{ port }}"
   |              ^^^^
   |
   = help: did you mean `{{ host }}`?
"#]]
        .raw()
    );
}

#[test]
fn weight_needs_a_balancer_with_weights() {
    let files = files().playbook(
        "max_surge = 1",
        "max_surge = 1\nsteps = [{ instances = 1, weight = \"5%\" }]",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: a step has a `weight`, but no balancer supports weights
  --> web.toml:14:9
   |
14 | steps = [{ instances = 1, weight = "5%" }]
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: use [traffic] with driver = "haproxy" or "nginx", or leave out `weight`
"#]]
        .raw()
    );
}

#[test]
fn one_public_port_permits_one_instance_per_host() {
    let files = without_balancer("driver = \"nftables\"\nport = 80")
        .playbook("[rollout]", "[rollout]\nreplicas = 5");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: 5 replicas need 5 slots, but the fleet offers 4 (2 hosts × 2 slots)
  --> web.toml:16:12
   |
16 | replicas = 5
   |            ^
   |
   = help: add hosts, ports or slots, or lower `replicas`

error: `replicas` cannot be 5: there are 2 hosts with one public port each
  --> web.toml:16:12
   |
16 | replicas = 5
   |            ^
   |
   = help: with driver = "nftables", only one instance per host receives requests: add hosts, or lower `replicas`
"#]]
        .raw()
    );
}

#[test]
fn server_options_without_effect_or_with_separators_are_refused() {
    let report = with(&format!("{HAPROXY}\nserver_options = \"maxconn 3\"")).report();
    assert!(
        report.contains("`server_options` only applies to servers that ship adds"),
        "{report}"
    );
    let report = with(&format!(
        "{HAPROXY}\nservers = \"dynamic\"\nserver_options = \"maxconn 3; show info\""
    ))
    .report();
    assert!(
        report.contains("`server_options` cannot contain `;`"),
        "{report}"
    );
}
