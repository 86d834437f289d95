//! Parses and validates a single value.

use std::time::Duration;

use crate::core::spec::budget::Amount;

use super::diagnostic::SourceSpan;
use super::toml_tree::{Node, Value};

const DURATION_MAX: Duration = Duration::from_hours(366 * 24);
const COUNT_MAX: u32 = 1_000_000;
/// Longer texts are shortened in messages.
const QUOTED_MAX: usize = 60;

/// The problem with a value, as a fragment after its key: "`replicas` *must be a whole number, not
/// a string*".
#[derive(Debug)]
pub(super) struct ValueError {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// The place, if it is not the whole value.
    pub(super) place: Option<SourceSpan>,
}

/// All problems of one value.
pub(super) type Faults = Vec<ValueError>;

/// A value and its place, for checks after the file has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    pub value: T,
    pub place: SourceSpan,
}

impl ValueError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            place: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn place(mut self, place: &SourceSpan) -> Self {
        self.place = Some(place.clone());
        self
    }
}

impl From<ValueError> for Faults {
    fn from(fault: ValueError) -> Self {
        vec![fault]
    }
}

/// Quotes a text for a message, on one line and shortened.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(QUOTED_MAX)
        .flat_map(char::escape_debug)
        .collect();
    let more = if text.chars().nth(QUOTED_MAX).is_some() {
        "…"
    } else {
        ""
    };
    format!(
        "`{}{more}`",
        shown.replace("\\'", "'").replace("\\\"", "\"")
    )
}

/// Reads with `read` and adds the place.
pub(super) fn located<T>(
    read: impl Fn(&Node) -> Result<T, Faults>,
) -> impl Fn(&Node) -> Result<Located<T>, Faults> {
    move |node| {
        Ok(Located {
            value: read(node)?,
            place: node.place.clone(),
        })
    }
}

pub(super) fn wrong_kind(node: &Node, wanted: &str) -> ValueError {
    ValueError::new(format!("must be {wanted}, not {}", node.kind()))
}

/// Reads a string, which may have several lines.
pub(super) fn string(node: &Node) -> Result<String, Faults> {
    let fault = || {
        let fault = wrong_kind(node, "a string");
        match node.value {
            Value::Array(_) | Value::Table(_) => fault,
            _ => fault.help(format!("add quotes: \"{}\"", node.place.text())),
        }
    };
    node.text().map(str::to_owned).ok_or_else(|| fault().into())
}

/// Reads a string that is not empty and has no control characters.
pub(super) fn line(node: &Node) -> Result<String, Faults> {
    let text = string(node)?;
    if text.trim().is_empty() {
        return Err(ValueError::new("must not be empty").into());
    }
    if text.chars().any(char::is_control) {
        return Err(
            ValueError::new("must not contain line breaks or other control characters").into(),
        );
    }
    Ok(text)
}

pub(super) fn boolean(node: &Node) -> Result<bool, Faults> {
    match node.value {
        Value::Boolean(yes) => Ok(yes),
        _ => Err(wrong_kind(node, "true or false")
            .help("write it without quotes: true")
            .into()),
    }
}

/// Reads a whole number from `min` to `max`.
pub(super) fn number<T>(min: T, max: T) -> impl Fn(&Node) -> Result<T, Faults>
where
    T: TryFrom<i128> + Copy + PartialOrd + std::fmt::Display,
{
    move |node| {
        let Value::Integer(number) = node.value else {
            return Err(wrong_kind(node, "a whole number")
                .help("write it without quotes and without a fraction")
                .into());
        };
        match T::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(ValueError::new(format!("must be a number from {min} to {max}")).into()),
        }
    }
}

pub(super) fn count(node: &Node) -> Result<u32, Faults> {
    number(0, COUNT_MAX)(node)
}

/// Reads a number of times, at least 1.
pub(super) fn times(node: &Node) -> Result<u32, Faults> {
    number(1, COUNT_MAX)(node)
}

/// Reads a count or a percentage.
pub(super) fn amount(node: &Node) -> Result<Amount, Faults> {
    const HELP: &str = "write a count such as 2, or a percentage from \"0%\" to \"100%\"";
    match (&node.value, node.text()) {
        (Value::Integer(count), _) => u32::try_from(*count).map(Amount::Count).map_err(|_| {
            ValueError::new(format!("cannot be {count}"))
                .help(HELP)
                .into()
        }),
        (_, Some(text)) => text.parse().map_err(|why| {
            ValueError::new(format!("is not a count or percentage: {why}"))
                .help(HELP)
                .into()
        }),
        _ => Err(wrong_kind(node, "a count or a percentage")
            .help(HELP)
            .into()),
    }
}

/// Reads a duration such as `1h30m`.
pub(super) fn duration(node: &Node) -> Result<Duration, Faults> {
    const HELP: &str =
        "write a number and a unit (ms, s, m, h or d), for example \"500ms\", \"30s\" or \"1h30m\"";
    let Some(text) = node.text() else {
        return Err(wrong_kind(node, "a duration in quotes").help(HELP).into());
    };
    parse_duration(text).map_err(|why| ValueError::new(why).help(HELP).into())
}

/// Reads a duration above zero.
pub(super) fn positive_duration(node: &Node) -> Result<Duration, Faults> {
    match duration(node)? {
        Duration::ZERO => Err(ValueError::new("must be longer than 0")
            .help("for example \"1s\"")
            .into()),
        duration => Ok(duration),
    }
}

/// Parses a duration such as `1h30m`: units in falling order, each at most once.
///
/// jiff's friendly format is not used, because it also accepts years, fractions, signs, spaces and
/// words, and has another limit for numbers.
///
/// # Errors
/// The problem as a fragment.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let wrong = || {
        format!(
            "is not a valid duration: {}; expected a number and a unit, such as `10m`",
            quoted(text)
        )
    };
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut sum_ms: u64 = 0;
    if text.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, tail) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?);
        let (unit, tail) = tail.split_at(
            tail.find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len()),
        );
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        sum_ms = sum_ms.saturating_add(number.saturating_mul(*unit_ms));
        rest = tail;
    }
    let duration = Duration::from_millis(sum_ms);
    if duration > DURATION_MAX {
        Err("is longer than a year".to_owned())
    } else {
        Ok(duration)
    }
}

/// Reads one of several fixed words.
pub(super) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&Node) -> Result<T, Faults> {
    move |node| {
        let text = string(node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let list = known
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(" or ");
        let help = match nearest(&text, &known) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("write {list}"),
        };
        Err(
            ValueError::new(format!("must be {list}, not {}", quoted(&text)))
                .help(help)
                .into(),
        )
    }
}

/// The known word that is most similar to a mistyped one.
pub(super) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    const SIMILARITY_MIN: f64 = 0.75;
    let similarity = |word: &str| strsim::jaro_winkler(&text.to_ascii_lowercase(), word);
    let best = known
        .iter()
        .copied()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(best) >= SIMILARITY_MIN).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_needs_units_in_falling_order() {
        let ms = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("30s"), Ok(30_000));
        assert_eq!(ms("0s"), Ok(0));
        assert_eq!(ms("10m"), Ok(600_000));
        assert_eq!(ms("1h30m"), Ok(5_400_000));
        assert_eq!(ms("1d2h3m4s5ms"), Ok(93_784_005));
        for wrong in [
            "",
            "5",
            "s",
            "30 s",
            "-1s",
            "1.5s",
            "30m1h",
            "1s1s",
            "5min",
            "٣s",
            "99999999999999999999s",
        ] {
            assert_eq!(
                ms(wrong),
                Err(format!(
                    "is not a valid duration: `{wrong}`; expected a number and a unit, such as `10m`"
                )),
                "{wrong}"
            );
        }
        assert_eq!(ms("367d"), Err("is longer than a year".to_owned()));
        assert_eq!(
            ms("9999999999999999999d"),
            Err("is longer than a year".to_owned())
        );
    }

    #[test]
    fn nearest_finds_a_mistyped_word_only() {
        let known = ["max_surge", "max_unavailable", "replicas"];
        assert_eq!(nearest("max_surgee", &known), Some("max_surge"));
        assert_eq!(nearest("Replicas", &known), Some("replicas"));
        assert_eq!(nearest("zzz", &known), None);
    }
}
