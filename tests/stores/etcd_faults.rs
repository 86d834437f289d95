//! Members of etcd that end, are suspended or cannot be reached, and answers that are lost.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ship::store::{CommitResult, Condition, Database, Etcd, Transaction};

use super::etcd::{assert_contains, open, rejected, unavailable, unconditional};
use super::transactions::{
    absent, commit, created_by, eventually, prefix, put, put_expiring, record, renew, value,
};
use ship_testing::etcd_cluster::EtcdCluster;

/// No method may take longer than its deadline and some time to notice it.
const DEADLINE: Duration = Duration::from_secs(7);

#[test]
fn endpoints_without_a_server_are_reported() {
    let ports: Vec<u16> = (0..2).map(|_| closed_port()).collect();
    let database = open(&format!(
        "etcd://127.0.0.1:{},127.0.0.1:{}",
        ports[0], ports[1]
    ));
    let began = Instant::now();
    let text = unavailable(database.read(&[]));
    let refused = |port: u16| format!("127.0.0.1:{port}: connection refused");
    assert_contains(
        &text,
        &[&refused(ports[0]), &refused(ports[1]), "\nhint: check"],
    );
    let text = unavailable(database.commit(&unconditional(vec![put("a", "x")])));
    assert_contains(
        &text,
        &["cannot commit a transaction: ", &refused(ports[0])],
    );
    unavailable(database.renew("a", 1));
    unavailable(database.size_bytes());
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
}

#[test]
fn host_without_an_address_is_unavailable() {
    let database = open("etcd://host.invalid");
    assert_contains(&unavailable(database.read(&[])), &["host.invalid:2379: "]);
}

#[test]
fn server_that_is_not_etcd_is_rejected() {
    for (answer, expected) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\n404 page not found",
            "404 page not found",
        ),
        (
            "HTTP/1.1 301 Moved Permanently\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "HTTP 301",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP 400",
        ),
    ] {
        let server = OtherServer::start(answer);
        let database = open(&server.url());
        assert_contains(
            &rejected(database.read(&[])),
            &[expected, "hint: the URL must name"],
        );
        assert_contains(
            &rejected(database.commit(&unconditional(Vec::new()))),
            &[expected],
        );
    }
}

#[test]
fn answer_that_is_not_one_of_etcd_leaves_a_commit_unknown() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        "ESMTP ready\r\n",
        "",
    ] {
        let server = OtherServer::start(answer);
        let database = open(&server.url());
        unavailable(database.commit(&unconditional(Vec::new())));
        unavailable(database.read(&[]));
    }
}

#[test]
fn commit_whose_answer_is_lost_is_not_repeated() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let silent = OtherServer::start("");
    let url = format!("etcd://{},{}/ship", silent.address(), cluster.endpoint(0));
    let database = open(&url);
    let transaction = unconditional(vec![put("key", "x")]);
    unavailable(database.commit(&transaction));
    assert_eq!(silent.requests(), 1);
    assert_eq!(value(&open(&cluster.url()), "key"), None);
    // The next request begins with the other endpoint.
    commit(&database, &[], transaction.writes);
    assert_eq!(silent.requests(), 1);

    // A read is repeated.
    let database = open(&url);
    assert_eq!(value(&database, "key").as_deref(), Some("x"));
    assert_eq!(silent.requests(), 2);
}

#[test]
fn commit_uses_the_next_endpoint_if_the_first_refuses_the_connection() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let url = format!(
        "etcd://127.0.0.1:{},{}/ship",
        closed_port(),
        cluster.endpoint(0)
    );
    let database = open(&url);
    commit(&database, &[absent("key")], vec![put("key", "x")]);
    let created = commit(&database, &[], vec![put_expiring("lease", "anna")]);
    assert!(renew(&database, "lease", created));
}

#[test]
fn endpoint_that_never_answers_delays_a_read_only_a_little() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    // The system accepts the connections, but no process does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    let database = open(&format!("etcd://{silent}"));
    let began = Instant::now();
    assert_contains(&unavailable(database.read(&[])), &["no answer within"]);
    assert_contains(
        &unavailable(database.commit(&unconditional(Vec::new()))),
        &["no answer"],
    );
    assert!(began.elapsed() < 2 * DEADLINE, "{:?}", began.elapsed());

    let database = open(&format!("etcd://{silent},{}", cluster.endpoint(0)));
    assert_eq!(value(&database, "key"), None);
    // From now on, it is the second choice.
    let began = Instant::now();
    commit(&database, &[], vec![put("key", "x")]);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn connection_is_made_again_after_a_restart() {
    let Some(mut cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let created = commit(&database, &[], vec![put_expiring("lease", "anna")]);
    cluster.kill(0);
    unavailable(database.read(&[]));
    unavailable(database.commit(&unconditional(vec![put("key", "x")])));
    unavailable(database.renew("lease", created));
    cluster.restart(0);
    assert_eq!(value(&database, "lease").as_deref(), Some("anna"));
    cluster.kill(0);
    cluster.restart(0);
    // The connection that was used last is gone.
    commit(&database, &[absent("key")], vec![put("key", "x")]);
    assert!(renew(&database, "lease", created));
}

#[test]
fn each_member_can_be_missing() {
    let Some(mut cluster) = EtcdCluster::start(3) else {
        return;
    };
    let database = open(&cluster.url());
    let mut number = 0;
    for missing in [0, 1, 2, 0] {
        cluster.kill(missing);
        for _ in 0..5 {
            append(&database, &[], number);
            number += 1;
        }
        assert_eq!(prefix(&database, "events/").len(), number);
        cluster.restart(missing);
    }
    assert_events(&database, number);
}

#[test]
fn cluster_without_a_majority_is_unavailable_until_it_has_one() {
    let Some(mut cluster) = EtcdCluster::start(3) else {
        return;
    };
    let database = open(&cluster.url());
    commit(&database, &[], vec![put("key", "x")]);
    cluster.kill(1);
    cluster.kill(2);
    // One member alone, which has not noticed it yet, does not know whether a condition is met.
    let condition = Transaction {
        conditions: vec![absent("other")],
        writes: Vec::new(),
    };
    unavailable(database.commit(&condition));
    let began = Instant::now();
    let text = unavailable(database.read(&[]));
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    assert_contains(&text, &["cannot read records: ", "\nhint: "]);
    unavailable(database.commit(&unconditional(vec![put("key", "y")])));
    // After the election has failed, the member knows that it has no leader.
    eventually("a member without a leader reports it", || {
        let text = unavailable(database.read(&[]));
        text.contains("no leader") && text.contains("hint: a majority")
    });
    cluster.restart(1);
    cluster.restart(2);
    // What was not acknowledged may have been committed.
    let found = value(&database, "key").expect("a record");
    assert!(["x", "y"].contains(&found.as_str()), "{found}");
}

#[test]
fn no_event_is_lost_or_doubled_while_leaders_are_killed() {
    let Some(mut cluster) = EtcdCluster::start(3) else {
        return;
    };
    let url = cluster.url();
    while_events_are_appended(&url, |progress| {
        for _ in 0..3 {
            let leader = cluster.leader();
            progress(10);
            cluster.kill(leader);
            progress(10);
            cluster.restart(leader);
        }
    });
}

#[test]
fn no_event_is_lost_or_doubled_while_leaders_are_suspended() {
    let Some(cluster) = EtcdCluster::start(3) else {
        return;
    };
    let url = cluster.url();
    while_events_are_appended(&url, |progress| {
        for _ in 0..3 {
            let leader = cluster.leader();
            progress(10);
            cluster.suspend(leader);
            progress(10);
            cluster.resume(leader);
        }
    });
}

/// Appends events as a controller does, under its lease, while `disturb` runs. It is given a
/// function that waits until this many more events were appended.
fn while_events_are_appended(url: &str, disturb: impl FnOnce(&dyn Fn(usize))) {
    let database = open(url);
    let created = commit(
        &database,
        &[absent("lease")],
        vec![put_expiring("lease", "anna")],
    );
    let appended = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let total = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 0;
            while !is_over.load(Ordering::SeqCst) {
                append(&database, &[created_by("lease", created)], number);
                number += 1;
                appended.store(number, Ordering::SeqCst);
            }
            number
        });
        let over = Over(&is_over);
        disturb(&|count| {
            let until = appended.load(Ordering::SeqCst) + count;
            eventually("events are appended", || {
                assert!(!writer.is_finished(), "the writer has failed");
                appended.load(Ordering::SeqCst) >= until
            });
        });
        drop(over);
        writer.join().unwrap()
    });
    assert_events(&database, total);
    assert_eq!(
        record(&database, "lease").expect("a lease").created,
        created
    );
}

/// Appends one event, and repeats the transaction until its outcome is known, as the store does.
fn append(database: &dyn Database, conditions: &[Condition], number: usize) {
    let key = format!("events/{number:06}");
    let text = format!("event {number}");
    let transaction = Transaction {
        conditions: [conditions, &[absent(&key)]].concat(),
        writes: vec![put(&key, &text)],
    };
    let mut may_be_committed = false;
    eventually("the outcome is known", || {
        match database.commit(&transaction) {
            Ok(CommitResult::Committed(_)) => true,
            Ok(CommitResult::Refused) => {
                assert!(may_be_committed, "refused at the first attempt");
                let Ok(snapshot) = database.read(&[ship::store::KeyRange::Key(key.clone())]) else {
                    return false;
                };
                assert_eq!(snapshot.ranges[0][0].value, text);
                true
            }
            Err(error) => {
                unavailable::<()>(Err(error));
                may_be_committed = true;
                false
            }
        }
    });
}

/// All events are there, in the order in which they were committed, each written once.
fn assert_events(database: &Etcd, total: usize) {
    let events = prefix(database, "events/");
    let values: Vec<String> = events.iter().map(|event| event.value.clone()).collect();
    let expected: Vec<String> = (0..total).map(|number| format!("event {number}")).collect();
    assert_eq!(values, expected);
    assert!(events.iter().all(|event| event.created == event.modified));
    assert!(events.is_sorted_by(|one, next| one.created < next.created));
}

/// Sets the flag when it is dropped, also after a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A port where nothing listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server that reads each request and gives always the same answer; without one, it closes the
/// connection.
struct OtherServer {
    port: u16,
    requests: Arc<AtomicUsize>,
    is_stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl OtherServer {
    fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (counter, stopping) = (Arc::clone(&requests), Arc::clone(&is_stopping));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                if answer_request(stream, answer).is_ok() {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self {
            port,
            requests,
            is_stopping,
            acceptor: Some(acceptor),
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn url(&self) -> String {
        format!("etcd://{}", self.address())
    }

    /// How many requests it has read.
    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for OtherServer {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts connections.
        drop(TcpStream::connect(self.address()));
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

fn answer_request(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = Vec::new();
    let mut part = [0; 4096];
    // The requests of these tests are small, and their bodies end with a brace.
    while !request.ends_with(b"}") {
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&part[..count]);
    }
    stream.write_all(answer.as_bytes())?;
    stream.shutdown(Shutdown::Write)
}
