//! TLS for connections to `PostgreSQL`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore};
use rustls::{Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresError;

/// `sslmode` of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS if the server supports it. Nothing is verified.
    Prefer,
    /// TLS. As with libpq, the certificate is verified only if there is a file of authorities, and
    /// then like [`TlsMode::VerifyCa`].
    Require,
    /// The certificate must be signed by a known authority, for whatever host.
    VerifyCa,
    /// The certificate must also be for the host of the URL.
    VerifyFull,
}

impl TlsMode {
    /// # Errors
    /// If it is not the name of a mode.
    pub(super) fn parse(text: &str) -> Result<Self, PostgresError> {
        match text {
            "disable" => Ok(TlsMode::Disable),
            // libpq tries without TLS first with `allow`. With TLS is never worse.
            "allow" | "prefer" => Ok(TlsMode::Prefer),
            "require" => Ok(TlsMode::Require),
            "verify-ca" => Ok(TlsMode::VerifyCa),
            "verify-full" => Ok(TlsMode::VerifyFull),
            _ => Err(PostgresError::rejected(
                "`sslmode` has an unknown value",
                "expected disable, prefer, require, verify-ca or verify-full",
            )),
        }
    }
}

/// The authorities that may sign certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TlsRoots {
    /// Those that the operating system trusts.
    Platform,
    File(PathBuf),
}

/// Makes what opens TLS connections.
///
/// # Errors
/// If the file of authorities cannot be used.
pub(super) fn connector(
    mode: TlsMode,
    roots: &TlsRoots,
) -> Result<MakeRustlsConnect, PostgresError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (mode, roots) {
        (TlsMode::Disable | TlsMode::Prefer, _) | (TlsMode::Require, TlsRoots::Platform) => {
            Arc::new(AnyCertificate(Arc::clone(&provider)))
        }
        (TlsMode::Require | TlsMode::VerifyCa, TlsRoots::File(path)) => {
            Arc::new(AnyServerName(file_verifier(path, &provider)?))
        }
        // Any authority of the world issues certificates for hosts of an attacker.
        (TlsMode::VerifyCa, TlsRoots::Platform) => {
            return Err(PostgresError::rejected(
                "`sslmode=verify-ca` needs a file with the authority's certificate",
                "add &sslrootcert=FILE to the URL, or use sslmode=verify-full",
            ));
        }
        (TlsMode::VerifyFull, TlsRoots::File(path)) => file_verifier(path, &provider)?,
        (TlsMode::VerifyFull, TlsRoots::Platform) => {
            let verifier = Verifier::new(Arc::clone(&provider)).map_err(|error| {
                PostgresError::rejected(
                    format!("cannot load the system's certificate authorities: {error}"),
                    "install the package ca-certificates, or add ?sslrootcert=FILE to the URL",
                )
            })?;
            Arc::new(verifier)
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            PostgresError::rejected(format!("cannot use TLS: {error}"), "use ?sslmode=disable")
        })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Verifies with the authorities of a PEM file.
fn file_verifier(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, PostgresError> {
    let unusable = |why: &dyn std::fmt::Display| {
        PostgresError::rejected(
            format!("cannot use `sslrootcert` {}: {why}", path.display()),
            "name a readable file with the authority's certificate in PEM form",
        )
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"it contains no certificate"));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(&error))
}

/// Accepts every certificate, if the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies everything except the name of the host.
#[derive(Debug)]
struct AnyServerName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyServerName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.0
                .verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        match verified {
            // The name is verified last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
