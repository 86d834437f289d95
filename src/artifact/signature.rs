//! Checks that an artifact was signed by the signer that the playbook names. Otherwise, nothing of
//! it reaches a host.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backon::ExponentialBuilder;
use minisign_verify::{Error, PublicKey, Signature};
use sha2::{Digest, Sha256};

use super::error::ArtifactError;
use super::web::{SmallDocument, shown, small};
use crate::config::{MinisignKey, SignatureConfig, Signer, Source, hex, remove_secrets};

const SIGNATURE_BYTES_MAX: u64 = 64 << 10;
const CHUNK_BYTES: usize = 64 * 1024;
const SSH_KEYGEN: &str = "ssh-keygen";

/// A signature that was found, and who must have made it.
pub(super) struct RequiredSignature {
    signer: Signer,
    signature: Vec<u8>,
    /// Where it was found, for messages.
    place: String,
}

/// Fetches the signature of a source.
pub(super) async fn demand(
    config: &SignatureConfig,
    source: &Source,
    retries: ExponentialBuilder,
) -> Result<RequiredSignature, ArtifactError> {
    if matches!(source, Source::Path(path) if path.is_dir()) {
        let help = "pack it and sign the archive, or leave out the keys of the signature";
        return Err(ArtifactError::signature(
            "a directory cannot be signed",
            help,
        ));
    }
    let (artifact, place) = (shown(source), shown(&config.at));
    match small(&config.at, SIGNATURE_BYTES_MAX, retries).await {
        Ok(SmallDocument::Bytes(signature)) => Ok(RequiredSignature {
            signer: config.signer.clone(),
            signature,
            place,
        }),
        Ok(SmallDocument::Absent(why)) => Err(ArtifactError::signature(
            &format!("the artifact {artifact} is not signed: cannot read {place}: {why}"),
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
        Err(trouble) => {
            let message = format!("cannot read the signature {place}: {}", trouble.why);
            Err(ArtifactError::signature(
                &message,
                "try again later, or correct `signature`",
            ))
        }
    }
}

impl RequiredSignature {
    /// Reads the file once; returns the SHA-256 of the bytes that the signature is valid for.
    pub(super) fn verify(&self, path: &Path, artifact: &str) -> Result<String, ArtifactError> {
        let verified = match &self.signer {
            Signer::Minisign(key) => self.by_minisign(&public_key(key)?, path),
            Signer::Ssh {
                allowed_signers,
                name,
                namespace,
            } => self.by_ssh_keygen(
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
                "the artifact {artifact} is not signed as it must be ({}): {why}",
                self.place
            );
            let help = "if the key in the playbook is the right one, trust nothing of this \
                        artifact: get it, or build it, anew";
            ArtifactError::signature(&message, help)
        })
    }

    fn by_minisign(&self, key: &PublicKey, path: &Path) -> Result<String, String> {
        let text = std::str::from_utf8(&self.signature)
            .map_err(|_| "the signature is no minisign signature")?;
        let signature =
            Signature::decode(text).map_err(|_| "the signature is no minisign signature")?;
        let mut verifier = key
            .verify_stream(&signature)
            .map_err(|why| in_words(&why))?;
        let sha256 = digested(path, |bytes| {
            verifier.update(bytes);
            Ok(())
        });
        let sha256 = sha256.map_err(|why| format!("it cannot be read: {why}"))?;
        verifier.finalize().map_err(|why| in_words(&why))?;
        Ok(sha256)
    }

    /// `ssh-keygen` reads the signature from a file and the signed bytes from its standard input.
    fn by_ssh_keygen(&self, path: &Path, ssh: &SshVerification<'_>) -> Result<String, String> {
        let here = |why: io::Error| format!("the signature cannot be given to {SSH_KEYGEN}: {why}");
        // ssh-keygen says no more than that it could not verify.
        File::open(ssh.allowed_signers).map_err(|why| {
            format!(
                "cannot read `allowed_signers` {}: {why}",
                ssh.allowed_signers.display()
            )
        })?;
        let mut file = tempfile::NamedTempFile::new().map_err(here)?;
        file.write_all(&self.signature)
            .and_then(|()| file.flush())
            .map_err(here)?;
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
                format!("{SSH_KEYGEN} is not on this machine (Debian: openssh-client)")
            }
            _ => format!("{SSH_KEYGEN} cannot be started: {why}"),
        })?;
        let mut input = child.stdin.take();
        let sha256 = digested(path, |bytes| {
            match input.as_mut().map(|input| input.write_all(bytes)) {
                // It has decided already, and says how.
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
            .map_err(|why| format!("{SSH_KEYGEN} did not end: {why}"))?;
        let sha256 = sha256.map_err(|why| format!("it cannot be read: {why}"))?;
        if output.status.success() {
            return Ok(sha256);
        }
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said)
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("; ");
        Err(format!("{SSH_KEYGEN} says: {}", said.escape_debug()))
    }
}

struct SshVerification<'a> {
    allowed_signers: &'a PathBuf,
    name: &'a str,
    namespace: &'a str,
}

fn public_key(key: &MinisignKey) -> Result<PublicKey, ArtifactError> {
    let help = "write the second line of the .pub file, or the path of that file";
    match key {
        MinisignKey::Text(text) => PublicKey::from_base64(text).map_err(|_| {
            ArtifactError::signature("`minisign_key` is no minisign public key", help)
        }),
        MinisignKey::File(path) => {
            let place = path.display();
            let text = fs::read_to_string(path).map_err(|why| {
                ArtifactError::signature(
                    &format!("cannot read the minisign public key {place}: {why}"),
                    help,
                )
            })?;
            let key = PublicKey::decode(&text).or_else(|_| PublicKey::from_base64(text.trim()));
            key.map_err(|_| {
                ArtifactError::signature(&format!("{place} is no minisign public key"), help)
            })
        }
    }
}

fn in_words(why: &Error) -> &'static str {
    match why {
        Error::UnexpectedKeyId => "it is signed by another key",
        Error::InvalidSignature => "the signature is not of these bytes",
        Error::UnsupportedLegacyMode | Error::UnsupportedAlgorithm | Error::UnexpectedAlgorithm => {
            "the signature is of a kind that cannot be verified; sign with minisign 0.10 or newer"
        }
        Error::InvalidEncoding | Error::IoError(_) => "the signature is no minisign signature",
    }
}

/// Returns the SHA-256 of a file, and passes each piece to `give`.
fn digested(path: &Path, mut give: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<String> {
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
        give(bytes)?;
    }
}
