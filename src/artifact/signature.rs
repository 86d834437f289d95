//! Checks that an artifact was signed by the signer in the playbook, before any part of it reaches
//! a host.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backon::ExponentialBuilder;
use minisign_verify::{Error, PublicKey, Signature};
use sha2::{Digest, Sha256};

use super::error::ArtifactError;
use super::http::{SmallDocument, fetch_small, source_name};
use crate::config::{MinisignKey, SignatureConfig, Signer, Source, hex, remove_secrets};

const SIGNATURE_BYTES_MAX: u64 = 64 << 10;
const CHUNK_BYTES: usize = 64 * 1024;
const SSH_KEYGEN: &str = "ssh-keygen";

/// A signature, and the signer who must have made it.
pub(super) struct RequiredSignature {
    signer: Signer,
    signature: Vec<u8>,
    /// The path or URL of the signature, for messages.
    location: String,
}

/// Fetches the signature of a source.
pub(super) async fn fetch(
    config: &SignatureConfig,
    source: &Source,
    retries: ExponentialBuilder,
) -> Result<RequiredSignature, ArtifactError> {
    if matches!(source, Source::Path(path) if path.is_dir()) {
        let help = "pack it and sign the archive, or remove the signature keys from the playbook";
        return Err(ArtifactError::signature(
            "a directory cannot be signed",
            help,
        ));
    }
    let (artifact, location) = (source_name(source), source_name(&config.at));
    match fetch_small(&config.at, SIGNATURE_BYTES_MAX, retries).await {
        Ok(SmallDocument::Bytes(signature)) => Ok(RequiredSignature {
            signer: config.signer.clone(),
            signature,
            location,
        }),
        Ok(SmallDocument::Absent(why)) => Err(ArtifactError::signature(
            &format!("the artifact {artifact} is not signed: cannot read {location}: {why}"),
            match config.signer {
                Signer::Minisign(_) => {
                    "sign it (minisign -Sm FILE) and publish the signature beside it"
                }
                Signer::Ssh { .. } => {
                    "sign it (ssh-keygen -Y sign -n file -f KEY FILE) and publish the signature \
                     beside it"
                }
            },
        )),
        Err(error) => {
            let message = format!("cannot read the signature {location}: {}", error.why);
            Err(ArtifactError::signature(
                &message,
                "retry later, or correct `signature`",
            ))
        }
    }
}

impl RequiredSignature {
    /// Reads the file once and returns the SHA-256 of the bytes for which the signature is valid.
    pub(super) fn verify(&self, path: &Path, artifact: &str) -> Result<String, ArtifactError> {
        let verified = match &self.signer {
            Signer::Minisign(key) => self.verify_with_minisign(&public_key(key)?, path),
            Signer::Ssh {
                allowed_signers,
                name,
                namespace,
            } => self.verify_with_ssh_keygen(
                path,
                &SshVerification {
                    allowed_signers,
                    name,
                    namespace,
                },
            ),
        };
        verified.map_err(|why| {
            let message = format!(
                "the artifact {artifact} does not have a valid signature ({}): {why}",
                self.location
            );
            let help = "if the key in the playbook is correct, do not trust this artifact: download or \
                        build it again";
            ArtifactError::signature(&message, help)
        })
    }

    fn verify_with_minisign(&self, key: &PublicKey, path: &Path) -> Result<String, String> {
        let text = std::str::from_utf8(&self.signature)
            .map_err(|_| "the signature is not a minisign signature")?;
        let signature =
            Signature::decode(text).map_err(|_| "the signature is not a minisign signature")?;
        let mut verifier = key
            .verify_stream(&signature)
            .map_err(|why| describe(&why))?;
        let sha256 = digest_file(path, |bytes| {
            verifier.update(bytes);
            Ok(())
        });
        let sha256 = sha256.map_err(|why| format!("cannot read it: {why}"))?;
        verifier.finalize().map_err(|why| describe(&why))?;
        Ok(sha256)
    }

    /// `ssh-keygen` reads the signature from a file and the signed bytes from its standard input.
    fn verify_with_ssh_keygen(
        &self,
        path: &Path,
        ssh: &SshVerification<'_>,
    ) -> Result<String, String> {
        let input_error =
            |why: io::Error| format!("cannot pass the signature to {SSH_KEYGEN}: {why}");
        // For a missing file, ssh-keygen prints only that it could not verify the signature.
        File::open(ssh.allowed_signers).map_err(|why| {
            format!(
                "cannot read `allowed_signers` {}: {why}",
                ssh.allowed_signers.display()
            )
        })?;
        let mut file = tempfile::NamedTempFile::new().map_err(input_error)?;
        file.write_all(&self.signature)
            .and_then(|()| file.flush())
            .map_err(input_error)?;
        let mut command = Command::new(SSH_KEYGEN);
        remove_secrets(&mut command);
        command
            .args(["-Y", "verify", "-n", ssh.namespace, "-I", ssh.name, "-f"])
            .arg(ssh.allowed_signers);
        command.arg("-s").arg(file.path()).env("LC_ALL", "C");
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => {
                format!("{SSH_KEYGEN} is not installed on this machine (Debian: openssh-client)")
            }
            _ => format!("cannot start {SSH_KEYGEN}: {why}"),
        })?;
        let mut input = child.stdin.take();
        let sha256 = digest_file(path, |bytes| {
            match input.as_mut().map(|input| input.write_all(bytes)) {
                // ssh-keygen has already decided; its output has the reason.
                Some(Err(why)) if why.kind() == io::ErrorKind::BrokenPipe => {
                    input = None;
                    Ok(())
                }
                Some(written) => written,
                None => Ok(()),
            }
        });
        drop(input);
        let output = child
            .wait_with_output()
            .map_err(|why| format!("cannot wait for {SSH_KEYGEN}: {why}"))?;
        let sha256 = sha256.map_err(|why| format!("cannot read it: {why}"))?;
        if output.status.success() {
            return Ok(sha256);
        }
        let output_bytes = [output.stderr, output.stdout].concat();
        let printed = String::from_utf8_lossy(&output_bytes)
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("; ");
        Err(format!("{SSH_KEYGEN} printed: {}", printed.escape_debug()))
    }
}

struct SshVerification<'a> {
    allowed_signers: &'a PathBuf,
    name: &'a str,
    namespace: &'a str,
}

fn public_key(key: &MinisignKey) -> Result<PublicKey, ArtifactError> {
    let help = "use the second line of the .pub file, or the path of that file";
    match key {
        MinisignKey::Text(text) => PublicKey::from_base64(text).map_err(|_| {
            ArtifactError::signature("`minisign_key` is not a minisign public key", help)
        }),
        MinisignKey::File(path) => {
            let location = path.display();
            let text = fs::read_to_string(path).map_err(|why| {
                ArtifactError::signature(
                    &format!("cannot read the minisign public key {location}: {why}"),
                    help,
                )
            })?;
            let key = PublicKey::decode(&text).or_else(|_| PublicKey::from_base64(text.trim()));
            key.map_err(|_| {
                ArtifactError::signature(&format!("{location} is not a minisign public key"), help)
            })
        }
    }
}

fn describe(why: &Error) -> &'static str {
    match why {
        Error::UnexpectedKeyId => "it is signed with another key",
        Error::InvalidSignature => "the signature does not match the content",
        Error::UnsupportedLegacyMode | Error::UnsupportedAlgorithm | Error::UnexpectedAlgorithm => {
            "the signature has an unsupported format; sign with minisign 0.10 or newer"
        }
        Error::InvalidEncoding | Error::IoError(_) => "the signature is not a minisign signature",
    }
}

/// Returns the SHA-256 of a file, and passes each chunk to `consume`.
fn digest_file(
    path: &Path,
    mut consume: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sha256 = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = match file.read(&mut chunk) {
            Ok(0) => return Ok(hex(&sha256.finalize())),
            Ok(length) => length,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(why),
        };
        let bytes = chunk.get(..length).unwrap_or_default();
        sha256.update(bytes);
        consume(bytes)?;
    }
}
