//! Migrations: two versions of a service share a table while both run.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::project::{DEADLINE, LocalProject};
use ship_testing::namespace::{until, write};
use ship_testing::probe_client::get;

/// A service that adds a row and reads it back, for every request. 0.8 knows the column `name`, 0.9
/// `full_name`.
const SERVICE: &str = r#"import os, sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COLUMN = {"0.8": "name"}.get(os.environ["VERSION"], "full_name")

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            db = sqlite3.connect(os.environ["DB"], timeout=10)
            with db:
                row = db.execute(f"insert into people ({COLUMN}) values ('Ada')").lastrowid
            found = db.execute(f"select {COLUMN} from people where id = ?", (row,)).fetchone()
            everyone = db.execute(f"select count(*) from people where {COLUMN} is null").fetchone()
            status, text = (200, "well") if (found, everyone) == (("Ada",), (0,)) else (500, f"{found} {everyone}")
        except sqlite3.Error as error:
            status, text = 500, str(error)
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Page).serve_forever()
"#;

/// What makes the table, and what changes it so that both versions find what they know.
const EXPAND: &str = r#"import os, sqlite3
db = sqlite3.connect(os.environ["DB"], timeout=10, isolation_level=None)
db.executescript("""
begin immediate;
alter table people add column full_name text;
update people set full_name = name;
create trigger from_old after insert on people when new.full_name is null
  begin update people set full_name = new.name where id = new.id; end;
create trigger from_new after insert on people when new.name is null
  begin update people set name = new.full_name where id = new.id; end;
commit;
""")
print("people have a full name")
"#;

const CONTRACT: &str = r#"import os, sqlite3
db = sqlite3.connect(os.environ["DB"], timeout=10, isolation_level=None)
db.executescript("""
begin immediate;
drop trigger from_old;
drop trigger from_new;
alter table people drop column name;
commit;
""")
"#;

/// Three replicas of 0.8 whose table is there, and 0.9 with both halves of its change.
fn project(contract: &str) -> LocalProject {
    let project = LocalProject::new();
    let db = project.path("people.db").display().to_string();
    let project = project.with(
        "[service.env]\n",
        &format!("[service.env]\nDB = \"{db}\"\n"),
    );
    for version in ["0.8", "0.9"] {
        let dir = project.path(&format!("page-{version}"));
        write(&dir.join("page.py"), SERVICE);
        write(&dir.join("expand.py"), EXPAND);
        write(&dir.join("contract.py"), CONTRACT);
    }
    let made = std::process::Command::new("python3")
        .args([
            "-c",
            "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).executescript('pragma \
                      journal_mode = wal; create table people (id integer primary key, name \
                      text)')",
        ])
        .arg(&db)
        .status();
    assert!(made.expect("python3").success());
    project.deploy("0.8");
    let both = format!(
        "[[migrations]]\nid = \"add-full-name\"\nkind = \"expand\"\ncommand = \"python3 \
         expand.py\"\n\n[[migrations]]\nid = \
         \"drop-name\"\nkind = \"contract\"\ncommand = \"python3 \
         contract.py\"\n{contract}\n\n[rollout]\n"
    );
    project.with("[rollout]\n", &both)
}

/// Sends requests to every instance while `act` runs; returns the number of requests and the
/// failures.
fn with_requests(project: &LocalProject, act: impl FnOnce()) -> (usize, Vec<String>) {
    let over = Arc::new(AtomicBool::new(false));
    let places: Vec<_> = (1..=4)
        .flat_map(|node| {
            [8081, 8082].map(|port| format!("{}:{port}", project.address(&format!("node{node}"))))
        })
        .collect();
    let monitor = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let (mut well, mut ill) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                for place in &places {
                    match get(place.parse().expect("an address")) {
                        Ok(answer) if answer == "well" => well += 1,
                        Ok(answer) => ill.push(format!("{place}: {answer}")),
                        Err(status) if status.starts_with("HTTP/") => {
                            ill.push(format!("{place}: {status}"));
                        }
                        // A refused connection or a stopping instance is not a failed request.
                        Err(_) => {}
                    }
                }
            }
            (well, ill)
        }
    });
    act();
    over.store(true, Ordering::Relaxed);
    monitor.join().expect("it asks")
}

#[test]
fn expand_and_contract_migrations_cause_no_errors() {
    let project = project("manual = true");
    let (well, ill) = with_requests(&project, || {
        let done = project.deploy("0.9");
        assert!(
            done.stderr.contains("expand add-full-name: done in "),
            "{}",
            done.stderr
        );
        // Before the contract, rolling back and forth is possible, and completed migrations are not
        // run again.
        project
            .ship(&["rollback", "inventory.toml"])
            .any_stderr()
            .run();
        let done = project.deploy("0.9");
        assert!(!done.stderr.contains("expand"), "{}", done.stderr);
        let status = project
            .ship(&["status", "inventory.toml"])
            .any_stdout()
            .run()
            .stdout;
        assert!(
            status.contains("migration contract drop-name is pending; run `ship migrate`"),
            "{status}"
        );
        let done = project
            .ship(&["migrate", "inventory.toml"])
            .any_stderr()
            .run();
        assert!(
            done.stderr.contains("contract drop-name: done in "),
            "{}",
            done.stderr
        );
    });
    assert_eq!(ill, Vec::<String>::new());
    assert!(well > 50, "only {well} requests were sent");
    let done = project
        .ship(&["migrate", "inventory.toml"])
        .any_stderr()
        .run();
    assert!(
        done.stderr
            .contains(" 0.9 has no pending contract migrations"),
        "{}",
        done.stderr
    );
}

#[test]
fn rollback_past_a_contract_is_refused() {
    let project = project("soak = \"500ms\"");
    let done = project.deploy("0.9");
    assert!(
        done.stderr.contains("contract drop-name: done in "),
        "{}",
        done.stderr
    );
    let why = "from before the contract \"drop-name\", which ran with 0.9 (revision 2)";
    for args in [&["rollback"][..], &["rollback", "--to-revision", "1"]] {
        let args: Vec<_> = [args[0], "inventory.toml"]
            .into_iter()
            .chain(args[1..].iter().copied())
            .collect();
        let done = project.ship(&args).any_stderr().status(2).run();
        assert!(done.stderr.contains(why), "{}", done.stderr);
    }
    let before = project.with(
        "[[migrations]]\nid = \"add-full-name\"\nkind = \"expand\"\ncommand = \"python3 \
               expand.py\"\n\n",
        "",
    );
    let before = before.with(
        "[[migrations]]\nid = \"drop-name\"\nkind = \"contract\"\ncommand = \
                              \"python3 contract.py\"\nsoak = \"500ms\"\n\n",
        "",
    );
    let done = before
        .ship(&["deploy", "inventory.toml", "--version", "0.8"])
        .any_stderr()
        .status(2)
        .run();
    assert!(done.stderr.contains(why), "{}", done.stderr);
    assert_eq!(
        before
            .running()
            .iter()
            .filter(|row| row.ends_with("0.9"))
            .count(),
        3
    );
}

#[test]
fn rollback_is_refused_if_the_migrations_cannot_be_read() {
    let project = project("manual = true");
    project.deploy("0.9");
    let database = rusqlite::Connection::open(project.path(".ship/ship.db")).expect("the state");
    let change = |from: &str, to: &str| {
        let sql = "update records set value = replace(value, ?1, ?2) where key like \
                   'services/%/migrations/%'";
        let changed = database.execute(sql, [from, to]).expect("changed");
        assert!(changed > 0, "there are migrations");
    };
    change("\"state\"", "\"lost\"");
    for args in [
        &["rollback", "inventory.toml"][..],
        &["rollback", "inventory.toml", "--to-revision", "1"],
    ] {
        let done = project.ship(args).any_stderr().status(1).run();
        assert!(
            done.stderr.contains("missing field `state`"),
            "{}",
            done.stderr
        );
    }
    change("\"lost\"", "\"state\"");
    assert_eq!(
        project
            .running()
            .iter()
            .filter(|row| row.ends_with("0.9"))
            .count(),
        3
    );
}

#[test]
fn failed_expand_migration_quarantines_the_release() {
    let project = project("manual = true");
    write(
        &project.path("page-0.9/expand.py"),
        "raise SystemExit('no such table: persons')",
    );
    let pages = project.pages();
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--unattended",
    ];
    let done = project.ship(&args).any_stderr().status(3).run();
    assert!(
        done.stderr
            .contains("migration expand add-full-name: it exited with status 1"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("no such table: persons"),
        "{}",
        done.stderr
    );
    assert_eq!(project.pages(), pages);
    let done = project.ship(&args).any_stderr().run();
    assert!(done.stderr.contains("quarantined"), "{}", done.stderr);
    write(&project.path("page-0.9/expand.py"), EXPAND);
    project.deploy("0.9");
}

#[test]
fn failed_contract_can_be_run_later() {
    let project = project("soak = \"100ms\"");
    let contract = project.path("page-0.9/contract.py");
    write(&contract, "raise SystemExit('the table is locked')");
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(4)
        .run();
    for words in [
        "a contract migration",
        "the table is locked",
        "may have removed what older versions need",
    ] {
        assert!(
            done.stderr.contains(words),
            "no {words:?} in:\n{}",
            done.stderr
        );
    }
    assert_eq!(
        project
            .running()
            .iter()
            .filter(|row| row.ends_with("0.9"))
            .count(),
        3,
        "it serves"
    );
    let done = project
        .ship(&["abort", "inventory.toml"])
        .any_stderr()
        .status(2)
        .run();
    assert!(
        done.stderr
            .contains("cannot roll back to revision 1: 0.8 is from before"),
        "{}",
        done.stderr
    );
    write(&contract, CONTRACT);
    // The release that lies on the hosts has the contract that fails.
    project
        .ship(&["resume", "inventory.toml"])
        .any_stderr()
        .status(4)
        .run();
    project.deploy("0.9");
    assert_eq!(project.status()["state"], "idle");
}

#[test]
fn migration_is_not_repeated_after_ship_was_killed() {
    let project = project("manual = true");
    let (began, proceed) = (project.path("began"), project.path("proceed"));
    let slow = format!(
        "import os, time\nopen({began:?}, 'a').write('began\\n')\nwhile not \
         os.path.exists({proceed:?}): time.sleep(0.01)\n{EXPAND}"
    );
    write(&project.path("page-0.9/expand.py"), &slow);
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("expand add-full-name");
    until("its beginning", DEADLINE, || began.exists().then_some(()));
    deploy.signal("KILL");
    deploy.wait();
    write(&proceed, "");
    project.deploy("0.9");
    let times = fs::read_to_string(&began)
        .expect("it began")
        .lines()
        .count();
    let marks = fs::read_dir(project.path(".ship/hosts/node1/page/migrations"))
        .expect("its host remembers")
        .count();
    assert!((1..=2).contains(&times), "{times}");
    assert_eq!(marks, 1);
    assert!(
        project.pages().iter().all(|page| page == "well"),
        "{:?}",
        project.pages()
    );
}
