//! Texts that are almost right: real ones with a few random changes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// The number of cases of a property; more with `SHIP_LONG=1`.
pub fn cases(few: u32) -> ProptestConfig {
    let cases = if std::env::var_os("SHIP_LONG").is_some() {
        few * 50
    } else {
        few
    };
    // A failure becomes a test of its own, not a file of seeds.
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// One of the texts, with up to six changes.
pub fn mutated(texts: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<Index>(), any::<Index>(), 0..KINDS);
    (any::<Index>(), vec(change, 0..6)).prop_map(move |(which, changes)| {
        let other = |pick: Index| pick.get(&texts).clone();
        changes
            .into_iter()
            .fold(other(which), |text, (from, length, pick, kind)| {
                change_at(text, from, length, pick, kind, other)
            })
    })
}

/// The same for texts.
pub fn mutated_text(texts: Vec<String>) -> impl Strategy<Value = String> {
    let texts = texts.into_iter().map(String::into_bytes).collect();
    mutated(texts).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

const KINDS: u8 = 12;
const SPECIAL: &[u8] = b"\"[]{}=.#\n\r\t %-9\\'/\0\x1b:,";
const NUMBERS: [&str; 9] = [
    "0",
    "-1",
    "65536",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "NaN",
    "0x10",
];

fn change_at(
    mut text: Vec<u8>,
    from: Index,
    length: Index,
    pick: Index,
    kind: u8,
    other: impl Fn(Index) -> Vec<u8>,
) -> Vec<u8> {
    if text.is_empty() {
        return text;
    }
    let at = from.index(text.len());
    let end = at + length.index(30.min(text.len() - at) + 1);
    let line = line_at(&text, at);
    match kind {
        0 => text[at] = SPECIAL[pick.index(SPECIAL.len())],
        1 => text[at] ^= 1 << pick.index(8),
        2 => drop(text.drain(at..end)),
        3 => text.truncate(at),
        4 => drop(text.splice(at..at, text[at..end].to_vec())),
        5 => drop(text.splice(line.start..line.start, text[line].to_vec())),
        6 => drop(text.drain(line)),
        // A line of another text, or from another position.
        7 => {
            let other = other(pick);
            if !other.is_empty() {
                let found = line_at(&other, length.index(other.len()));
                text.splice(line.start..line.start, other[found].to_vec());
            }
        }
        8 => drop(text.splice(
            number_at(&text, at),
            NUMBERS[pick.index(NUMBERS.len())].bytes(),
        )),
        // Deep nesting, or long runs.
        9 => drop(text.splice(
            at..at,
            [b"[", b"{", b"(", b"x", b"9", b"\n", b" "][pick.index(7)].repeat(5000),
        )),
        10 => drop(text.splice(at..at, "é\u{202e}\u{feff}😀".bytes())),
        _ => text.insert(at, SPECIAL[pick.index(SPECIAL.len())]),
    }
    text
}

/// The line that contains a byte, with its line end.
fn line_at(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let start = text[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |before| before + 1);
    let end = text[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |after| at + after + 1);
    start..end
}

/// The first digits from a byte on; empty if there are none.
fn number_at(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let start = text[at..]
        .iter()
        .position(u8::is_ascii_digit)
        .map_or(text.len(), |digit| at + digit);
    let end = text[start..]
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .map_or(text.len(), |other| start + other);
    start..end
}
