//! Directories that outlive releases.

use ship_testing::fleet::Fleet;
use ship_testing::namespace;

use super::Service;

const REDIS: &str = r#"version = "1"

[service]
name = "cache"
command = "/usr/bin/redis-server redis.conf --bind {{ address }} --port {{ port }} --dir data --appendonly yes"
ports = [6379]
shared_dirs = ["data"]

[artifact]
source = "app"

[readiness]
command = "/usr/bin/redis-cli -h {{ address }} -p {{ port }} set ready {{ version }}"

[rollout]
max_surge = 0
max_unavailable = 1
"#;

#[test]
fn redis_in_place_keeps_its_data() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let files = [("redis.conf", "protected-mode no\n")];
        let service = Service::new(&fleet, REDIS, &files);
        service.deploy("1", &[]).exits(0);
        let host = &fleet.hosts[0];
        let redis = |command: &str| {
            host.exec(&format!("redis-cli -h {} {command}", host.address))
                .stdout
        };
        assert_eq!(redis("set answer 42"), "OK\n");
        // More releases than ship keeps: pruning must not follow the link.
        for version in ["2", "3", "4"] {
            service
                .deploy(version, &["--set", "rollout.history_limit=1"])
                .exits(0);
        }
        service.ship("rollback", &[]).exits(0);
        assert_eq!(redis("get answer"), "42\n");
        assert_eq!(redis("get ready"), "3\n");
        let kept = host.exec("ls /var/lib/ship/cache/releases | wc -l").stdout;
        assert!(kept.trim() < "4", "{kept} releases");
        host.exec("stat -c %U /var/lib/ship/cache/shared/data")
            .prints(&["ship-cache"]);
        service
            .ship("check", &[])
            .exits(0)
            .prints(&[", shared: data ("]);
    });
}

const DJANGO: &str = r#"version = "1"

[service]
name = "site"
command = "/usr/bin/gunicorn --bind {{ address }}:{{ port }} site_app:application"
ports = [8081, 8082]
env = { VERSION = "{{ version }}" }
shared_dirs = ["media/uploads"]

[artifact]
source = "app"

[readiness]
http = "/uploads"

[[hooks]]
on = "before_start"
command = "/bin/sh -c 'echo {{ version }} > media/uploads/started-{{ port }}'"

[rollout]
replicas = 2
"#;

/// A Django site that stores what it receives.
const SITE: &str = r#"
import os
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test", MEDIA_ROOT="media")
storage = FileSystemStorage(location="media/uploads")
@csrf_exempt
def uploads(request):
    for name, file in request.FILES.items():
        storage.save(name, file)
    return HttpResponse(os.environ["VERSION"] + " " + " ".join(sorted(storage.listdir("")[1])) + "\n")
urlpatterns = [path("uploads", uploads)]
application = get_wsgi_application()
"#;

#[test]
fn uploads_of_django_outlive_its_releases() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = Service::new(&fleet, DJANGO, &[("site_app.py", SITE)]);
        // Both slots are taken, so instances are replaced in place.
        let in_place = [
            "--set",
            "rollout.max_surge=0",
            "--set",
            "rollout.max_unavailable=1",
        ];
        service.deploy("1", &in_place).exits(0);
        let host = &fleet.hosts[0];
        let upload = |name: &str, port: u16| {
            host.exec(&format!(
                "echo {name} | curl -sS -F '{name}=@-;filename={name}' http://{}:{port}/uploads",
                host.address
            ))
            .stdout
        };
        assert_eq!(upload("a", 8081), "1 a started-8081 started-8082\n");
        service.deploy("2", &in_place).exits(0);
        assert_eq!(upload("b", 8082), "2 a b started-8081 started-8082\n");
        service.ship("rollback", &in_place).exits(0);
        assert_eq!(upload("c", 8081), "1 a b c started-8081 started-8082\n");
    });
}

#[test]
fn shared_dir_behind_a_link_of_the_service_is_refused() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = Service::new(&fleet, DJANGO, &[("site_app.py", SITE)]);
        let one = ["--set", "rollout.replicas=1"];
        service.deploy("1", &one).exits(0);
        let host = &fleet.hosts[0];
        // The service could make root create directories wherever its link leads.
        host.exec("setpriv --reuid=ship-site --regid=ship-site --clear-groups ln -s /etc /var/lib/ship/site/shared/media/uploads/link")
            .exits(0);
        let nested = "service.shared_dirs=[\"media/uploads/link/evil\"]";
        service
            .deploy("2", &[&one[..], &["--set", nested]].concat())
            .exits(3)
            .prints(&["belongs to ship-site, who could redirect the shared directory"]);
        host.exec("test -e /etc/evil").exits(1);
    });
}

#[test]
fn parent_of_a_shared_dir_can_be_shared_later() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = Service::new(&fleet, DJANGO, &[("site_app.py", SITE)]);
        let one = ["--set", "rollout.replicas=1"];
        service.deploy("1", &one).exits(0);
        let wider = "service.shared_dirs=[\"media\"]";
        let done = service
            .deploy("2", &[&one[..], &["--set", wider]].concat())
            .exits(0);
        assert!(!done.stderr.contains("no longer shares"), "{}", done.stderr);
        fleet.hosts[0]
            .exec("stat -c %U /var/lib/ship/site/shared/media /var/lib/ship/site/shared/media/uploads")
            .prints(&["ship-site\nship-site"]);
    });
}
