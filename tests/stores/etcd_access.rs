//! Users, roles and certificates of etcd.

use std::io::{self, Read as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use ship::store::{Database as _, KeyRange};

use super::etcd::{assert_contains, open, rejected, unavailable, unconditional};
use super::transactions::{absent, commit, put, put_expiring, record, renew, value};
use ship_testing::etcd_certificates::Certificates;
use ship_testing::etcd_cluster::{ClusterOptions, EtcdCluster};

const HINT_TLS: &str = "begin with https, add `?tls=true`";
const HINT_NO_TLS: &str = "begin with http:, replace the options of the URL with `?tls=false`";

/// One member with the users `root`, `anna`, who may write below `ship/`, `bob`, who may read it,
/// and `carl`, who may do nothing. The password of each is `secret` and the name.
fn cluster_with_users() -> Option<EtcdCluster> {
    let cluster = EtcdCluster::start(1)?;
    for user in ["root", "anna", "bob", "carl"] {
        cluster.etcdctl(&["user", "add", &format!("{user}:secret{user}")]);
    }
    for (user, role) in [("root", "root"), ("anna", "writer"), ("bob", "reader")] {
        cluster.etcdctl(&["role", "add", role]);
        cluster.etcdctl(&["user", "grant-role", user, role]);
    }
    for (role, kind) in [("writer", "readwrite"), ("reader", "read")] {
        cluster.etcdctl(&[
            "role",
            "grant-permission",
            role,
            kind,
            "--prefix=true",
            "ship/",
        ]);
    }
    cluster.etcdctl(&["auth", "enable"]);
    Some(cluster)
}

fn url_as(cluster: &EtcdCluster, login: &str) -> String {
    format!("etcd://{login}@{}/ship", cluster.endpoint(0))
}

#[test]
fn user_with_the_privilege_writes() {
    let Some(mut cluster) = cluster_with_users() else {
        return;
    };
    let database = open(&url_as(&cluster, "anna:secretanna"));
    let created = commit(
        &database,
        &[absent("lease")],
        vec![put_expiring("lease", "anna")],
    );
    commit(&database, &[], vec![put("key", "x")]);
    assert!(record(&database, "lease").is_some());
    assert!(renew(&database, "lease", created));
    assert!(database.size_bytes().unwrap() > 0);
    let mut changes = database.watch("key").expect("a watch");
    super::transactions::eventually("the watch begins", || changes.has_changed().unwrap());
    let _ = changes.borrow_and_update();

    // A member does not know the token after a restart.
    cluster.kill(0);
    cluster.restart(0);
    commit(&database, &[], vec![put("key", "y")]);
    assert!(renew(&database, "lease", created));
    super::transactions::eventually("the watch begins again", || changes.has_changed().unwrap());
    assert!(!format!("{database:?}").contains("secret"));
}

#[test]
fn token_that_is_no_longer_valid_is_replaced_before_each_kind_of_request() {
    let Some(mut cluster) = cluster_with_users() else {
        return;
    };
    let database = open(&url_as(&cluster, "anna:secretanna"));
    let created = commit(&database, &[], vec![put_expiring("lease", "anna")]);
    let mut restart = || {
        cluster.kill(0);
        cluster.restart(0);
    };
    restart();
    assert!(record(&database, "lease").is_some());
    restart();
    assert!(renew(&database, "lease", created));
    restart();
    commit(&database, &[], vec![put_expiring("lease", "bob")]);
    restart();
    commit(&database, &[], vec![put("key", "x")]);
}

#[test]
fn wrong_password_is_rejected() {
    let Some(cluster) = cluster_with_users() else {
        return;
    };
    for login in ["anna:secretbob", "dora:secretanna"] {
        let database = open(&url_as(&cluster, login));
        for text in [
            rejected(database.read(&[])),
            rejected(database.commit(&unconditional(vec![put("key", "x")]))),
            rejected(database.renew("key", 1)),
        ] {
            assert_contains(&text, &["authentication failed", "hint: correct the user"]);
            assert!(!text.contains("secret"), "{text}");
        }
    }
}

#[test]
fn missing_user_is_rejected() {
    let Some(cluster) = cluster_with_users() else {
        return;
    };
    let database = open(&cluster.url());
    let range = KeyRange::Prefix("a".to_owned());
    let text = rejected(database.read(&[range]));
    assert_contains(&text, &["user name is empty", "hint: correct the user"]);
    let text = rejected(database.commit(&unconditional(vec![put("key", "x")])));
    assert_contains(&text, &["user name is empty"]);
}

#[test]
fn missing_privilege_is_rejected_with_the_command_that_grants_it() {
    let Some(cluster) = cluster_with_users() else {
        return;
    };
    let grant = "grant-permission ROLE readwrite --prefix=true ship/";
    commit(
        &open(&url_as(&cluster, "anna:secretanna")),
        &[],
        vec![put("key", "x")],
    );
    let reader = open(&url_as(&cluster, "bob:secretbob"));
    assert_eq!(value(&reader, "key").as_deref(), Some("x"));
    let text = rejected(reader.commit(&unconditional(vec![put("key", "y")])));
    assert_contains(&text, &["permission denied", grant]);
    let text = rejected(reader.commit(&unconditional(vec![put_expiring("lease", "y")])));
    assert_contains(&text, &["permission denied", grant]);
    let without_role = open(&url_as(&cluster, "carl:secretcarl"));
    let range = KeyRange::Prefix("a".to_owned());
    assert_contains(
        &rejected(without_role.read(&[range])),
        &["permission denied", grant],
    );
    // The prefix is another one.
    let elsewhere = format!("etcd://anna:secretanna@{}/other", cluster.endpoint(0));
    let text = rejected(open(&elsewhere).commit(&unconditional(vec![put("key", "y")])));
    assert_contains(&text, &["permission denied", "--prefix=true other/"]);
}

#[test]
fn user_is_ignored_until_authentication_is_enabled() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&url_as(&cluster, "root:secretroot"));
    commit(&database, &[], vec![put("key", "x")]);
    cluster.etcdctl(&["user", "add", "root:secretroot"]);
    cluster.etcdctl(&["user", "grant-role", "root", "root"]);
    cluster.etcdctl(&["auth", "enable"]);
    commit(&database, &[], vec![put("key", "y")]);
    cluster.etcdctl(&["--user", "root:secretroot", "auth", "disable"]);
    assert_eq!(value(&database, "key").as_deref(), Some("y"));
}

fn with_tls(client_certificates: bool) -> Option<EtcdCluster> {
    let options = ClusterOptions {
        tls: true,
        client_certificates,
        ..ClusterOptions::default()
    };
    EtcdCluster::start_with(1, options)
}

#[test]
fn endpoint_is_verified_by_the_authority_of_the_url() {
    let Some(cluster) = with_tls(false) else {
        return;
    };
    let ca = cluster.certificates().ca();
    let database = open(&format!("{}?ca={ca}", cluster.url()));
    let created = commit(&database, &[], vec![put_expiring("lease", "anna")]);
    assert!(renew(&database, "lease", created));
    let changes = database.watch("lease").expect("a watch");
    super::transactions::eventually("the watch begins", || changes.has_changed().unwrap());

    let other = cluster.certificates().other_ca();
    let database = open(&format!("{}?ca={other}", cluster.url()));
    let text = rejected(database.read(&[]));
    assert_contains(&text, &["invalid peer certificate", "hint: correct `ca`"]);
    let text = rejected(database.commit(&unconditional(vec![put("key", "x")])));
    assert_contains(&text, &["invalid peer certificate"]);

    // The certificate names 127.0.0.1 only.
    let database = open(&format!(
        "etcd://localhost:{}/ship?ca={ca}",
        cluster.port(0)
    ));
    let text = rejected(database.read(&[]));
    assert_contains(
        &text,
        &[
            "not valid for name",
            "name the endpoints as in their certificates",
        ],
    );
}

#[test]
fn endpoint_with_tls_is_not_used_without_it() {
    let Some(cluster) = with_tls(false) else {
        return;
    };
    let text = unavailable(open(&cluster.url()).read(&[]));
    assert_contains(&text, &[HINT_TLS]);
}

#[test]
fn endpoint_without_tls_is_not_used_with_it() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let Some(certificates) = Certificates::make(dir.path()) else {
        return;
    };
    let database = open(&format!("{}?ca={}", cluster.url(), certificates.ca()));
    assert_contains(&unavailable(database.read(&[])), &[HINT_NO_TLS]);
}

#[test]
fn endpoint_that_requires_client_certificates_gets_one() {
    let Some(cluster) = with_tls(true) else {
        return;
    };
    let certificates = cluster.certificates();
    let verified = format!("{}?ca={}", cluster.url(), certificates.ca());
    let identity = format!(
        "cert={}&key={}",
        certificates.certificate(),
        certificates.key()
    );
    let database = open(&format!("{verified}&{identity}"));
    commit(&database, &[], vec![put("key", "x")]);

    let text = rejected(open(&verified).read(&[]));
    assert_contains(&text, &["hint: the endpoint requires a client certificate"]);
}

#[test]
fn wrong_certificate_of_one_endpoint_does_not_prevent_the_use_of_another() {
    let Some(cluster) = with_tls(false) else {
        return;
    };
    let ca = cluster.certificates().ca();
    let port = cluster.port(0);
    let database = open(&format!(
        "etcd://localhost:{port},127.0.0.1:{port}/ship?ca={ca}"
    ));
    commit(&database, &[absent("key")], vec![put("key", "x")]);
    unavailable(open(&format!("etcd://127.0.0.1:1/ship?ca={ca}")).read(&[]));
}

/// How an endpoint ends a connection.
#[derive(Clone, Copy)]
enum Ending {
    EndOfStream,
    /// As if some of what was sent is not read.
    Reset,
}

impl Ending {
    const ALL: [Self; 2] = [Self::EndOfStream, Self::Reset];

    fn end(self, mut stream: TcpStream) {
        match self {
            Self::EndOfStream => {
                stream.shutdown(Shutdown::Write).unwrap();
                // The client may reset the connection, too.
                let _ = io::copy(&mut stream, &mut io::sink());
            }
            // The kernel sends a reset if a byte is unread when the connection is closed.
            Self::Reset => assert_eq!(stream.peek(&mut [0]).unwrap(), 1),
        }
    }
}

/// The error of a commit at an endpoint that handles the connection like this.
fn commit_error(options: &str, handle: impl FnOnce(TcpStream) + Send) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let database = open(&format!("etcd://127.0.0.1:{port}/ship{options}"));
    // Larger than what a TLS server reads at once.
    let value = "x".repeat(1 << 20);
    thread::scope(|scope| {
        scope.spawn(|| handle(listener.accept().unwrap().0));
        unavailable(database.commit(&unconditional(vec![put("key", &value)])))
    })
}

#[test]
fn endpoint_that_ends_a_tls_handshake_may_not_use_tls() {
    let dir = tempfile::tempdir().unwrap();
    let Some(certificates) = Certificates::make(dir.path()) else {
        return;
    };
    let options = format!("?ca={}", certificates.ca());
    for ending in Ending::ALL {
        let text = commit_error(&options, |mut stream| {
            // etcd reads no more if one of these bytes is a newline, by chance.
            stream.read_exact(&mut [0; 24]).unwrap();
            ending.end(stream);
        });
        assert_contains(&text, &[HINT_NO_TLS]);
    }
}

#[test]
fn endpoint_that_ends_a_request_without_tls_may_use_it() {
    for ending in Ending::ALL {
        let text = commit_error("", |mut stream| {
            // The header of a TLS record, which etcd finds not to be one.
            stream.read_exact(&mut [0; 5]).unwrap();
            ending.end(stream);
        });
        assert_contains(&text, &[HINT_TLS]);
    }
}

#[test]
fn endpoint_that_ends_a_request_with_tls_may_require_a_client_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let Some(certificates) = Certificates::make(dir.path()) else {
        return;
    };
    let config = tls_server(&certificates);
    let options = format!("?ca={}", certificates.ca());
    for ending in Ending::ALL {
        let text = commit_error(&options, |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = StreamOwned::new(session, stream);
            tls.read_exact(&mut [0]).unwrap();
            ending.end(tls.sock);
        });
        assert_contains(&text, &["if it requires client certificates"]);
    }
}

fn tls_server(certificates: &Certificates) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificates.certificate()).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificates.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}
