//! Users, roles and certificates of etcd.

use ship::store::{Database as _, KeyRange};

use super::etcd::{assert_contains, open, rejected, unavailable, unconditional};
use super::transactions::{absent, commit, put, put_expiring, record, renew, value};
use ship_testing::etcd_certificates::Certificates;
use ship_testing::etcd_cluster::{ClusterOptions, EtcdCluster};

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
    assert_contains(&text, &["begin with https, add `?tls=true`"]);
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
    assert_contains(
        &unavailable(database.read(&[])),
        &["hint: the endpoint does not use TLS"],
    );
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
