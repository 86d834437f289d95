//! The HTTP client for the endpoints, with the certificates of the URL.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity};

use super::error::EtcdError;
use super::url::EtcdTls;

const KEEPALIVE: Duration = Duration::from_secs(15);

/// Creates the client. `connect_timeout` is that of one endpoint.
pub(super) fn http_client(
    tls: Option<&EtcdTls>,
    connect_timeout: Duration,
) -> Result<Client, EtcdError> {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("ship/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        // etcd serves gRPC over HTTP/2.
        .http1_only()
        .connect_timeout(connect_timeout)
        .tcp_keepalive(KEEPALIVE);
    let builder = match tls {
        // Loading the system's certificates takes longer than a request without TLS.
        None => builder.tls_certs_only([]),
        Some(tls) => {
            let builder = match &tls.ca {
                None => builder,
                Some(ca) => builder.tls_certs_only(certificates(ca)?),
            };
            match &tls.identity {
                None => builder,
                Some((certificate, key)) => builder.identity(identity(certificate, key)?),
            }
        }
    };
    builder.build().map_err(|_| {
        let hint = "name the certificate authority of etcd with `ca` in the URL, and compare \
                    `cert` with `key`";
        EtcdError::rejected("cannot set up TLS with these certificates", hint)
    })
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, EtcdError> {
    let found = Certificate::from_pem_bundle(&read(path)?).unwrap_or_default();
    if found.is_empty() {
        return Err(not_pem(path, "certificates"));
    }
    Ok(found)
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, EtcdError> {
    let mut pem = read(certificate)?;
    pem.push(b'\n');
    pem.extend(read(key)?);
    Identity::from_pem(&pem).map_err(|_| not_pem(certificate, "a certificate and its key"))
}

fn read(path: &Path) -> Result<Vec<u8>, EtcdError> {
    fs::read(path).map_err(|why| {
        let why = format!("cannot read {}: {why}", path.display());
        EtcdError::rejected(
            why,
            "correct the path in the URL or in ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY",
        )
    })
}

fn not_pem(path: &Path, what: &str) -> EtcdError {
    let why = format!("{} does not contain {what} in PEM", path.display());
    EtcdError::rejected(why, "convert it with `openssl`")
}
