//! A service with two ports in each slot, behind a load balancer.

use ship_testing::clients::{Clients, Load};
use ship_testing::fleet::Fleet;
use ship_testing::namespace;

use super::Service;
use crate::traffic::haproxy::Haproxy;

const PLAYBOOK: &str = r#"version = "1"

[service]
name = "page"
command = "/usr/bin/python3 two_ports.py"
ports = [{ admin = 9081, http = 8081 }, { admin = 9082, http = 8082 }]

[service.env]
HOST = "{{ address }}"
HTTP = "{{ ports.http }}"
ADMIN = "{{ ports.admin }}"
VERSION = "{{ version }}"

[artifact]
source = "app"

[readiness]
http = "/healthz"
body = "admin of {{ version }}"
port = "admin"

[traffic]
driver = "haproxy"
port = "http"
server = "{{ host }}-{{ ports.http }}"
socket = "/run/haproxy/admin.sock"

[rollout]
replicas = 3
"#;

const TWO_PORTS: &str = r#"
import http.server, os, threading
VERSION = os.environ["VERSION"]
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        text = self.text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *args):
        pass
class Http(Page):
    text = f"I am: {os.environ['HOST']}, the version is: {VERSION}\n"
class Admin(Page):
    text = f"admin of {VERSION}\n"
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
def serve(port, handler):
    Server((os.environ["HOST"], int(os.environ[port])), handler).serve_forever()
threading.Thread(target=serve, args=("ADMIN", Admin), daemon=True).start()
serve("HTTP", Http)
"#;

#[test]
fn two_port_service_behind_haproxy_loses_no_request() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &[8081, 8082]);
        let service = Service::new(&fleet, PLAYBOOK, &[("two_ports.py", TWO_PORTS)]);
        service.deploy("1", &[]).exits(0);
        haproxy.await_servers(3);
        let clients = Clients {
            keepalive: 4,
            short: 4,
            downloads: 0,
        };
        let load = Load::begin(&haproxy.endpoint(), clients);
        load.await_answers(500);
        service.deploy("2", &[]).exits(0).prints(&["admin of 2"]);
        service.ship("rollback", &[]).exits(0);
        load.await_answers(500);
        let result = load.end();
        println!("{result}");
        assert!(result.versions.len() > 1, "{result}");
        result.assert_none_failed(1000);
        // The slots are numbered by their first port.
        service.ship("status", &[]).exits(0).prints(&[":9081"]);
    });
}
