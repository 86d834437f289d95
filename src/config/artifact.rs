//! `[artifact]`: the files of a release, and how they are verified.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::channel::{self, Channel};
use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::local_path::resolve_relative;
use super::template::render_version;
use super::toml_tree::{Node, Value};
use super::value::{Faults, ValueError, choice, line, number};
use crate::config::source::{Source, source};
use crate::config::templates::place_within;

const STRIP_COMPONENTS_MAX: u32 = 100;
/// The namespace that `ssh-keygen -Y sign` uses for files, by its manual.
const NAMESPACE: &str = "file";
/// The length of a minisign public key.
const MINISIGN_KEY_CHARS: usize = 56;
const MINISIGN_KEY_START: &str = "RW";

/// The files of a release, and how they are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactConfig {
    /// The file, directory or URL.
    pub source: Source,
    pub fetch: Fetch,
    /// The expected SHA-256 in lower-case hex.
    pub sha256: Option<String>,
    /// Where to find a list of checksums.
    pub sums: Sums,
    /// The required signature, if any.
    pub signature: Option<SignatureConfig>,
    /// Leading path components to drop when unpacking.
    pub strip_components: u32,
    /// Names for versions that change.
    pub channels: BTreeMap<String, Channel>,
    /// The places of the keys, for errors when the source is read.
    pub places: ArtifactPlaces,
}

/// The places of an artifact's keys in the playbook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactPlaces {
    pub source: Option<SourceSpan>,
    pub sha256: Option<SourceSpan>,
    pub sums: Option<SourceSpan>,
    /// The place of `minisign_key` or `allowed_signers`.
    pub signature: Option<SourceSpan>,
}

/// How the artifact reaches the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// The control machine copies it to the hosts.
    Push,
    /// Each host downloads it.
    Pull,
    /// The control machine copies it to a few hosts, which pass it on to those near them.
    Relay,
}

/// A list of SHA-256 checksums, as `sha256sum` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sums {
    /// `SHA256SUMS` beside the source, if it exists and lists the source.
    Beside,
    Disabled,
    /// This list, which must contain the source.
    At(Source),
}

/// Who must have signed an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureConfig {
    pub signer: Signer,
    pub at: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The holder of a minisign key.
    Minisign(MinisignKey),
    /// A signer in an `allowed_signers` file, for `ssh-keygen -Y verify`.
    Ssh {
        allowed_signers: PathBuf,
        name: String,
        namespace: String,
    },
}

/// A minisign public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MinisignKey {
    /// The key itself.
    Text(String),
    /// A file with the key.
    File(PathBuf),
}

impl ArtifactConfig {
    /// Whether both are read from the same source, verified and unpacked in the same way.
    pub fn has_same_source(&self, other: &Self) -> bool {
        self.source == other.source
            && self.sha256 == other.sha256
            && self.sums == other.sums
            && self.signature == other.signature
            && self.strip_components == other.strip_components
    }

    /// The files on this machine that the table refers to.
    pub(super) fn local_files(&self) -> Vec<PathBuf> {
        let mut sources = vec![&self.source];
        sources.extend(match &self.sums {
            Sums::At(source) => Some(source),
            Sums::Beside | Sums::Disabled => None,
        });
        sources.extend(self.signature.as_ref().map(|signature| &signature.at));
        sources.extend(self.channels.values().filter_map(|channel| match channel {
            Channel::Text(source) | Channel::Json { source, .. } => Some(source),
            Channel::Newest { .. } => None,
        }));
        let paths = sources.into_iter().filter_map(|source| match source {
            Source::Path(path) => Some(path.clone()),
            Source::Url(_) => None,
        });
        let key = self
            .signature
            .as_ref()
            .and_then(|signature| match &signature.signer {
                Signer::Minisign(MinisignKey::File(path))
                | Signer::Ssh {
                    allowed_signers: path,
                    ..
                } => Some(path.clone()),
                Signer::Minisign(MinisignKey::Text(_)) => None,
            });
        let directories = self.channels.values().filter_map(|channel| match channel {
            Channel::Newest { directory, .. } => Some(directory.clone()),
            Channel::Text(_) | Channel::Json { .. } => None,
        });
        paths.chain(key).chain(directories).collect()
    }

    /// The defaults for everything except the source.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            fetch: Fetch::Push,
            sha256: None,
            sums: Sums::Beside,
            signature: None,
            strip_components: 0,
            channels: BTreeMap::new(),
            places: ArtifactPlaces::default(),
        }
    }
}

/// Reads the table. Templates in it may use the `version`.
pub(super) fn read(
    fields: &Fields<'_>,
    dir: &Path,
    version: Option<&str>,
    sink: &Sink,
) -> Option<ArtifactConfig> {
    let rendered = |node: &Node| render_with_version(node, version);
    let example = "source = \"testpage-{{ version }}.tar.gz\"";
    let source = fields.required("source", example, |node| {
        source(dir, node, &rendered(node)?)
    });
    let fetch = fields.optional_or(
        "fetch",
        Fetch::Push,
        choice(&[
            ("push", Fetch::Push),
            ("pull", Fetch::Pull),
            ("relay", Fetch::Relay),
        ]),
    );
    let sha256 = fields.optional("sha256", |node| sha256(&rendered(node)?));
    let near = source.clone().unwrap_or(Source::Path(dir.join("artifact")));
    let companion = |node: &Node| companion(dir, &near, node, &rendered(node)?);
    let sums = fields.optional_or("sha256sums", Sums::Beside, |node| match node.value {
        Value::Boolean(true) => Ok(Sums::Beside),
        Value::Boolean(false) => Ok(Sums::Disabled),
        _ => companion(node).map(Sums::At),
    });
    let signer = read_signer(fields, dir);
    let at = fields.optional("signature", companion);
    let strip_components =
        fields.optional_or("strip_components", 0, number(0, STRIP_COMPONENTS_MAX));
    let channels = fields.map("channels", channel::check_name, |node| {
        channel::read(node, dir, sink)
    });
    fields.finish();

    check_single_checksum(fields, sink)?;
    let (signer, at, source) = (signer?, at?, source?);
    if signer.is_none() && at.is_some() {
        let fault = ValueError::new("needs the key of the signer");
        let help = "add `minisign_key`, or `allowed_signers` and `signer`";
        fields.report("signature", fault.help(help));
        return None;
    }
    let signature = signer.map(|signer| SignatureConfig::of(signer, at, &source));
    let fetch = fetch?;
    if fetch == Fetch::Pull {
        check_pull_source(fields, &source)?;
    }
    let channels = channels?
        .into_iter()
        .map(|(name, channel)| Some((name, channel?)))
        .collect::<Option<_>>()?;
    Some(ArtifactConfig {
        source,
        fetch,
        sha256: sha256?,
        sums: sums?,
        signature,
        strip_components: strip_components?,
        channels,
        places: ArtifactPlaces::of(fields),
    })
}

impl ArtifactPlaces {
    fn of(fields: &Fields<'_>) -> Self {
        Self {
            source: fields.place_of("source"),
            sha256: fields.place_of("sha256"),
            sums: fields.place_of("sha256sums"),
            signature: fields
                .place_of("minisign_key")
                .or_else(|| fields.place_of("allowed_signers")),
        }
    }
}

impl SignatureConfig {
    /// By default, the signature is beside the source.
    fn of(signer: Signer, at: Option<Source>, source: &Source) -> Self {
        let ending = match signer {
            Signer::Minisign(_) => ".minisig",
            Signer::Ssh { .. } => ".sig",
        };
        let at = at.unwrap_or_else(|| source.suffixed(ending));
        Self { signer, at }
    }
}

fn check_single_checksum(fields: &Fields<'_>, sink: &Sink) -> Option<()> {
    let (Some(_), Some(sums)) = (fields.key_place("sha256"), fields.key_place("sha256sums")) else {
        return Some(());
    };
    let diagnostic = Diagnostic::at(sums, "`sha256sums` cannot be used together with `sha256`");
    sink.push(diagnostic.help("leave out one of the two"));
    None
}

#[expect(
    clippy::option_option,
    reason = "the outer None means invalid, the inner one that no signature is required"
)]
fn read_signer(fields: &Fields<'_>, dir: &Path) -> Option<Option<Signer>> {
    let minisign = fields.optional("minisign_key", |node| minisign_key(dir, node));
    let allowed_signers = fields.optional("allowed_signers", |node| resolve_relative(dir, node));
    let name = fields.optional("signer", line);
    let namespace = fields.optional("namespace", line);
    match (minisign?, allowed_signers?, name?, namespace?) {
        (None, None, None, None) => Some(None),
        (Some(key), None, None, None) => Some(Some(Signer::Minisign(key))),
        (None, Some(allowed_signers), Some(name), namespace) => {
            let namespace = namespace.unwrap_or_else(|| NAMESPACE.to_owned());
            Some(Some(Signer::Ssh {
                allowed_signers,
                name,
                namespace,
            }))
        }
        (Some(_), Some(_), ..) => {
            let fault = ValueError::new("cannot be used together with `minisign_key`");
            fields.report("allowed_signers", fault.help("leave out one of the two"));
            None
        }
        (None, Some(_), None, _) => {
            let fault = ValueError::new("needs a `signer`, who must have signed the artifact");
            fields.report(
                "allowed_signers",
                fault.help("for example: signer = \"ci@example.org\""),
            );
            None
        }
        (_, None, Some(_), _) => {
            let fault =
                ValueError::new("needs `allowed_signers`, the file with the key of the signer");
            fields.report(
                "signer",
                fault.help("for example: allowed_signers = \"allowed_signers\""),
            );
            None
        }
        (_, None, None, Some(_)) => {
            fields.report(
                "namespace",
                ValueError::new("can only be used with `allowed_signers` and `signer`"),
            );
            None
        }
    }
}

fn minisign_key(dir: &Path, node: &Node) -> Result<MinisignKey, Faults> {
    let text = line(node)?;
    let is_key = text.len() == MINISIGN_KEY_CHARS
        && text.starts_with(MINISIGN_KEY_START)
        && !text.contains('.');
    if !is_key {
        return resolve_relative(dir, node).map(MinisignKey::File);
    }
    match minisign_verify::PublicKey::from_base64(&text) {
        Ok(_) => Ok(MinisignKey::Text(text)),
        Err(_) => Err(ValueError::new("is not a valid minisign public key")
            .help("write the second line of the .pub file, or the path of the file")
            .into()),
    }
}

/// Checks that hosts can download the artifact: they need a URL, and they may not have zstd.
fn check_pull_source(fields: &Fields<'_>, source: &Source) -> Option<()> {
    let url = match source {
        Source::Url(text) => Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https")),
        Source::Path(_) => None,
    };
    let refuse = |why: &str, help: &str| {
        fields.report("fetch", ValueError::new(why).help(help));
        None
    };
    let push = "write fetch = \"push\", or leave it out, to copy the artifact from this machine";
    let Some(url) = url else {
        return refuse(
            "can only be \"pull\" if `source` is an http or https URL",
            push,
        );
    };
    let name = url.path().to_ascii_lowercase();
    if [".tar.zst", ".tzst"]
        .iter()
        .any(|ending| name.ends_with(ending))
    {
        let why = "cannot be \"pull\" for a zstd archive, because hosts can only unpack gzip";
        return refuse(why, "publish a .tar.gz archive, or write fetch = \"push\"");
    }
    Some(())
}

/// Renders a template with the version. A missing version is reported elsewhere.
fn render_with_version(node: &Node, version: Option<&str>) -> Result<String, Faults> {
    let text = line(node)?;
    render_version(&text, version.unwrap_or("0")).map_err(|fault| {
        let place = place_within(&node.place, &fault);
        let message = format!("is not a valid template: {}", fault.message);
        ValueError {
            message,
            help: fault.help,
            place: Some(place),
        }
        .into()
    })
}

/// A file that belongs to a source: a file name beside it, a path relative to the playbook (with a
/// `/`), or a URL.
fn companion(dir: &Path, near: &Source, node: &Node, text: &str) -> Result<Source, Faults> {
    if text.contains('/') || text.starts_with('~') {
        source(dir, node, text)
    } else {
        Ok(near.sibling(text))
    }
}

fn sha256(text: &str) -> Result<String, Faults> {
    const DIGITS: usize = 64;
    if text.len() == DIGITS && text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    let digits = text.chars().count();
    Err(ValueError::new(format!(
        "must be {DIGITS} hexadecimal digits, not {digits} characters"
    ))
    .help("print it with `sha256sum FILE`")
    .into())
}
