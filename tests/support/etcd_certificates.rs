//! Certificates for the endpoints of etcd and their clients, made with `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CONFIG: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = ship test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectAltName = IP:127.0.0.1
";

/// A certificate authority, a certificate that it signed for 127.0.0.1, which serves for endpoints
/// and for clients, and another authority.
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Makes them in a directory. Returns `None` if `openssl` is missing.
    pub fn make(dir: &Path) -> Option<Self> {
        let is_there = Command::new("openssl").arg("version").output();
        if is_there.is_err() {
            eprintln!("SKIPPED: openssl is missing (Debian: apt-get install openssl)");
            return None;
        }
        let dir = dir.to_owned();
        fs::write(dir.join("openssl.cnf"), CONFIG).unwrap();
        let certificates = Self { dir };
        certificates.request("ca", "authority", &[]);
        certificates.request("other-ca", "authority", &[]);
        let (ca, ca_key) = (certificates.ca(), certificates.file("ca.key"));
        let signed = ["-CA", &ca, "-CAkey", &ca_key];
        certificates.request("leaf", "leaf", &signed);
        Some(certificates)
    }

    pub fn ca(&self) -> String {
        self.file("ca.pem")
    }

    /// The authority that signed nothing.
    pub fn other_ca(&self) -> String {
        self.file("other-ca.pem")
    }

    pub fn certificate(&self) -> String {
        self.file("leaf.pem")
    }

    pub fn key(&self) -> String {
        self.file("leaf.key")
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    fn request(&self, name: &str, extensions: &str, more: &[&str]) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-config", &self.file("openssl.cnf")])
            .args(["-extensions", extensions])
            .args(["-keyout", &self.file(&format!("{name}.key"))])
            .args(["-out", &self.file(&format!("{name}.pem"))])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }
}
