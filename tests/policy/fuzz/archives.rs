//! Every tar program unpacks an accepted archive within its directory.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use ship::artifact::prepare;
use ship::config::{ArtifactConfig, Source};
use tempfile::TempDir;

use ship_testing::mutation::cases;

/// Much longer than the largest of these archives takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(20);

const NAMES: [&[u8]; 20] = [
    b"a",
    b"a/b",
    b"./a",
    b"a/./b",
    b"l",
    b"l/x",
    b"d/l",
    b"d/l/x",
    b"h",
    b"h/x",
    b"../a",
    b"a/../../x",
    b"/proc/ship",
    b"",
    b".",
    b"..",
    b"a\0b",
    b"a//b",
    b"d/",
    b"\xff\n",
];
const TARGETS: [&[u8]; 12] = [
    b"a",
    b"a/b",
    b"../a",
    b"../../x",
    b"d/l",
    b"l",
    b".",
    b"..",
    b"/etc/hosts",
    b"",
    b"./d/../..",
    b"../../../x",
];
/// The absolute one of these targets.
const ABSOLUTE_TARGET: &str = "/etc/hosts";
const KINDS: &[u8] = b"000000012225567gLKxSVMDA\0";

/// One header and its content.
#[derive(Clone, Debug)]
struct Block {
    name: &'static [u8],
    target: &'static [u8],
    kind: u8,
    /// The magic of ustar, of GNU tar, none, or an invalid one.
    magic: &'static [u8],
    content: Vec<u8>,
    /// A wrong content length in the header; `None` for the correct one.
    size: Option<u64>,
    prefix: &'static [u8],
}

fn block() -> impl Strategy<Value = Block> {
    let name = select(NAMES.to_vec());
    let magic = select(vec![
        &b"ustar\x0000"[..],
        b"ustar  \0",
        b"ustar  \0",
        b"\0\0\0\0\0\0\0\0",
        b"ustar\x0099",
    ]);
    let size = prop_oneof![
        12 => Just(None),
        1 => select(vec![Some(0), Some(512), Some(1 << 33), Some(u64::MAX)]),
    ];
    let prefix = select(vec![&b""[..], b"", b"", b"p", b".."]);
    (
        name,
        select(TARGETS.to_vec()),
        select(KINDS.to_vec()),
        magic,
        any::<Index>(),
        size,
        prefix,
    )
        .prop_flat_map(|(name, target, kind, magic, content, size, prefix)| {
            content_of(kind, content).prop_map(move |content| Block {
                name,
                target,
                kind,
                magic,
                content,
                size,
                prefix,
            })
        })
}

/// Content that fits the kind: a name, attributes, or bytes.
fn content_of(kind: u8, pick: Index) -> BoxedStrategy<Vec<u8>> {
    let name = select([NAMES.as_slice(), TARGETS.as_slice()].concat());
    match kind {
        b'L' | b'K' => name.prop_map(|name| [name, &b"\0"[..]].concat()).boxed(),
        b'x' | b'g' => {
            let key = select(vec![
                "path",
                "linkpath",
                "size",
                "comment",
                "GNU.sparse.name",
                "mtime",
            ]);
            prop::collection::vec((key, name), 1..3)
                .prop_map(|records| {
                    records
                        .into_iter()
                        .flat_map(|(key, value)| record(key, value))
                        .collect()
                })
                .boxed()
        }
        b'1'..=b'6' => prop_oneof![9 => Just(Vec::new()), 1 => Just(vec![b'x'; 10])].boxed(),
        _ => Just(vec![b'x'; pick.index(1200)]).boxed(),
    }
}

/// `LENGTH KEY=VALUE`, where the length counts its own digits.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..4)
        .map(|digits| rest + digits)
        .find(|length| length.to_string().len() + rest == *length)
        .unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn tar_of(blocks: &[Block], ends: usize, trailer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in blocks {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, block.name);
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        match block.size.unwrap_or(block.content.len() as u64) {
            size if size < 1 << 33 => put(124, format!("{size:011o}\0").as_bytes()),
            size => put(124, &[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat()),
        }
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[block.kind]);
        put(157, block.target);
        put(257, block.magic);
        if block.magic.starts_with(b"ustar\0") {
            put(345, block.prefix);
        }
        if block.kind == b'S' {
            // One segment with the length of the content.
            let size = block.content.len();
            put(386, format!("{:011o}\0{size:011o}\0", 0).as_bytes());
            put(483, format!("{size:011o}\0").as_bytes());
        }
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&block.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 512 * ends, 0);
    bytes.extend_from_slice(trailer);
    bytes
}

/// Returns the prepared archive, if ship accepts it.
fn prepare_archive(dir: &Path, bytes: &[u8], strip_components: u32) -> Option<PathBuf> {
    let source = dir.join("a.tar.gz");
    let mut gzip = GzEncoder::new(fs::File::create(&source).unwrap(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap();
    let source = Source::Path(source);
    let config = ArtifactConfig {
        strip_components,
        ..ArtifactConfig::new(source)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let start = Instant::now();
    let prepared = runtime.block_on(prepare(&config, &dir.join("cache")));
    assert!(start.elapsed() < TIME_LIMIT, "{:?}", start.elapsed());
    prepared.ok().map(|prepared| prepared.path)
}

/// The tar programs of this machine, called as on a host, and one that does not check names.
fn tars() -> Vec<Vec<&'static str>> {
    let has = |program: &str| Command::new(program).arg("--help").output().is_ok();
    let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
    let all = [
        "tar --no-same-permissions",
        "busybox tar --no-same-permissions",
        "tar --absolute-names",
    ];
    all.map(words)
        .into_iter()
        .filter(|words| has(words[0]))
        .collect()
}

/// Unpacks an archive as a host does, and checks the target directory and those around it.
fn unpack(tar: &[&str], archive: &Path, strip_components: u32) {
    let around = TempDir::new().unwrap();
    let app = around.path().join("one/two/app");
    fs::create_dir_all(&app).unwrap();
    let mut command = Command::new(tar[0]);
    command
        .args(&tar[1..])
        .arg("-xzof")
        .arg(archive)
        .arg("-C")
        .arg(&app);
    command.arg(format!("--strip-components={strip_components}"));
    let before = state_of(ABSOLUTE_TARGET);
    // This tar may fail to unpack the archive, which is not a concern of this test.
    let _ = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    for (dir, only) in [("", "one"), ("one", "two"), ("one/two", "app")] {
        let names: Vec<_> = fs::read_dir(around.path().join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [only], "{tar:?} has written outside the directory");
    }
    assert_eq!(
        state_of(ABSOLUTE_TARGET),
        before,
        "{tar:?} has changed {ABSOLUTE_TARGET} through a link"
    );
    check_entries(tar, &app, 0);
}

/// The metadata that changes with a write, a change of mode, or a link to the file.
fn state_of(file: &str) -> (u64, u32, u64, i64, i64) {
    let metadata = fs::metadata(file).unwrap();
    (
        metadata.ino(),
        metadata.mode(),
        metadata.nlink(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

/// Asserts that a directory contains only files, directories, and symbolic links. A relative link
/// must stay within the directory; an absolute one may name any path of the host.
fn check_entries(tar: &[&str], dir: &Path, depth: usize) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            if target.is_absolute() {
                continue;
            }
            let mut level = isize::try_from(depth).unwrap();
            for part in target.components() {
                level += match part {
                    Component::Normal(_) => 1,
                    Component::CurDir => 0,
                    Component::ParentDir => -1,
                    Component::RootDir | Component::Prefix(_) => isize::MIN / 2,
                };
                assert!(
                    level >= 0,
                    "{tar:?}: {} leads to {}",
                    path.display(),
                    target.display()
                );
            }
        } else if kind.is_dir() {
            check_entries(tar, &path, depth + 1);
        } else {
            assert!(kind.is_file(), "{tar:?}: {}", path.display());
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn accepted_archive_is_unpacked_within_its_directory(
        blocks in prop::collection::vec(block(), 1..6),
        flips in prop::collection::vec((any::<Index>(), any::<u8>()), 0..2),
        end in (0..3_usize, select(vec![&b""[..], b"x"])),
        strip_components in 0..3_u32,
    ) {
        let mut bytes = tar_of(&blocks, end.0, end.1);
        for (at, byte) in flips {
            *at.get_mut(&mut bytes) = byte;
        }
        let dir = TempDir::new().unwrap();
        if let Some(archive) = prepare_archive(dir.path(), &bytes, strip_components) {
            for tar in tars() {
                unpack(&tar, &archive, strip_components);
            }
        }
    }

    #[test]
    fn random_bytes_in_place_of_an_archive_do_not_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        name in select(vec!["a.tar.gz", "a.tar.zst"]),
        magic in any::<bool>(),
    ) {
        let dir = TempDir::new().unwrap();
        let magic: &[u8] = match (magic, name) {
            (false, _) => b"",
            (true, "a.tar.gz") => b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
            (true, _) => b"\x28\xb5\x2f\xfd",
        };
        fs::write(dir.path().join(name), [magic, &bytes].concat()).unwrap();
        let source = Source::Path(dir.path().join(name));
        let config = ArtifactConfig::new(source);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let start = Instant::now();
        let _ = runtime.block_on(prepare(&config, &dir.path().join("cache")));
        prop_assert!(start.elapsed() < TIME_LIMIT, "{:?}", start.elapsed());
    }
}

/// Checks that the strategy generates both kinds of archives.
#[test]
fn strategy_generates_valid_and_invalid_archives() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop::collection::vec(block(), 1..6);
    let dir = TempDir::new().unwrap();
    let mut accepted = 0;
    for _ in 0..300 {
        let blocks = strategy.new_tree(&mut runner).unwrap().current();
        accepted += usize::from(prepare_archive(dir.path(), &tar_of(&blocks, 2, b""), 0).is_some());
    }
    assert!((10..290).contains(&accepted), "{accepted} of 300");
}
