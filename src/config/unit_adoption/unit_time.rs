//! Times as systemd prints them, and as a playbook has them.

use std::time::Duration;

/// Parses `1min 30s`; `None` for `infinity` and for anything else.
pub(super) fn parse_unit_time(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 10] = [
        ("us", 1),
        ("ms", 1_000),
        ("min", 60_000_000),
        ("month", 2_629_800_000_000),
        ("h", 3_600_000_000),
        ("d", 86_400_000_000),
        ("w", 604_800_000_000),
        ("y", 31_557_600_000_000),
        ("s", 1_000_000),
        ("", 1_000_000),
    ];
    let mut sum_us: u64 = 0;
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    for word in words {
        let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = word.split_at(digits.unwrap_or(word.len()));
        let (_, unit_us) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        sum_us = sum_us.checked_add(whole.parse::<u64>().ok()?.checked_mul(*unit_us)?)?;
        // systemd prints at most six digits.
        let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
        sum_us += digits.parse::<u64>().ok()?.checked_mul(*unit_us)? / 1_000_000;
    }
    Some(Duration::from_micros(sum_us))
}

/// A time for a playbook: `90s`, `2m`, `250ms`.
pub(super) fn playbook_time(time: Duration) -> String {
    let ms = time.as_millis();
    for (unit, unit_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms >= unit_ms && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{}ms", ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_systemd_are_converted() {
        for (shown, written) in [
            ("1min 30s", "90s"),
            ("5s", "5s"),
            ("2h", "2h"),
            ("2min", "2m"),
            ("1.500000s", "1500ms"),
            ("250ms", "250ms"),
            ("1us", "1ms"),
        ] {
            let time = parse_unit_time(shown).expect("a time");
            assert_eq!(playbook_time(time), written, "{shown}");
        }
        for other in ["infinity", "", "5 parsecs"] {
            assert_eq!(parse_unit_time(other), None, "{other}");
        }
    }
}
