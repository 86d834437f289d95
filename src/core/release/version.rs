//! The order of versions by their names.

use std::cmp::Ordering;

/// Compares versions as `sort -V` does: numbers by their value, and `1.0~rc1` before `1.0`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b);
        (text_a, a) = split(a, |c| !c.is_ascii_digit());
        (text_b, b) = split(b, |c| !c.is_ascii_digit());
        let by_text = weights(text_a).cmp(weights(text_b));
        let (number_a, number_b);
        (number_a, a) = split(a, |c| c.is_ascii_digit());
        (number_b, b) = split(b, |c| c.is_ascii_digit());
        let order = by_text.then_with(|| numbers(number_a, number_b));
        if order != Ordering::Equal || a.is_empty() && b.is_empty() {
            return order;
        }
    }
}

/// Orders `~` before the end, the end before letters, and letters before everything else.
fn weights(text: &str) -> impl Iterator<Item = u32> + '_ {
    const BEYOND_LETTERS: u32 = 1 << 24;
    let weight = |c: char| match c {
        '~' => 0,
        c if c.is_ascii_alphabetic() => u32::from(c) + 1,
        c => u32::from(c) + BEYOND_LETTERS,
    };
    text.chars().map(weight).chain([1])
}

/// Compares numbers of any length, ignoring leading zeros.
fn numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_by_sort_v() {
        let sorted = [
            "0.9",
            "0.10",
            "1.0~rc1",
            "1.0~rc2",
            "1.0",
            "1.0a",
            "1.0.1",
            "2.0",
            "2026.9.30",
            "2026.11.2",
            "2026.11.24",
            "20261124013000",
            "99999999999999999999999999",
        ];
        for (index, a) in sorted.iter().enumerate() {
            assert_eq!(compare(a, a), Ordering::Equal, "{a}");
            for b in &sorted[index + 1..] {
                assert_eq!(
                    (compare(a, b), compare(b, a)),
                    (Ordering::Less, Ordering::Greater),
                    "{a} {b}"
                );
            }
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
    }
}
