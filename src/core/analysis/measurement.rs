//! The measurements of an analysis, their bounds, and a record of the results.

use crate::core::printable::strip_controls;
use crate::core::time::Time;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The number is within its bound.
    Success,
    /// The number is outside its bound.
    Failure,
    /// There was no number, or not enough data for one.
    Inconclusive,
    /// The measurement itself failed.
    Error,
}

/// A finite number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Number(f64);

/// A condition on a number: `>= 0.99`, `< 5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    comparison: Comparison,
    number: Number,
    is_percent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    NotEqual,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    pub finding: Finding,
    pub detail: String,
    /// The number, if there was one.
    pub value: Option<Number>,
}

/// The results of one analysis in a rollout so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// When the first measurement was made.
    pub since: Time,
    /// When the last measurement was made.
    pub last: Time,
    pub finding: Finding,
    pub detail: String,
    pub(super) failures: u32,
    pub(super) inconclusive: u32,
    pub(super) errors_in_a_row: u32,
}

impl Number {
    pub const ZERO: Self = Self(0.0);

    /// `None` for an infinite number or NaN.
    pub fn new(number: f64) -> Option<Self> {
        // Replaces -0.0 by 0.0, because equality and hashes compare the bits.
        number
            .is_finite()
            .then_some(Self(if number == 0.0 { 0.0 } else { number }))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Number {
    type Error = &'static str;

    fn try_from(number: f64) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("not a finite number")
    }
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        number.0
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Display for Number {
    /// Four significant digits; integers in full.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PLAIN_MAX: f64 = 1e15;
        let size = self.0.abs();
        if self.0.fract() == 0.0 && size < PLAIN_MAX {
            return write!(f, "{}", self.0);
        }
        if !(1e-4..PLAIN_MAX).contains(&size) {
            return write!(f, "{:.3e}", self.0);
        }
        let decimals = [1000.0, 100.0, 10.0, 1.0, 0.1, 0.01, 0.001]
            .iter()
            .take_while(|least| size < **least)
            .count();
        let text = format!("{:.decimals$}", self.0);
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        f.write_str(text)
    }
}

impl Bound {
    /// Whether a number is within the bound.
    pub fn admits(&self, number: f64) -> bool {
        let bound = self.number.0;
        match self.comparison {
            Comparison::Less => number < bound,
            Comparison::AtMost => number <= bound,
            Comparison::More => number > bound,
            Comparison::AtLeast => number >= bound,
            Comparison::Equal => number.to_bits() == bound.to_bits() || number - bound == 0.0,
            Comparison::NotEqual => number - bound != 0.0,
        }
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const OPERATORS: [(&str, Comparison); 6] = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            (">", Comparison::More),
            ("<", Comparison::Less),
        ];
        let text = text.trim();
        let found = OPERATORS
            .iter()
            .find_map(|(sign, comparison)| Some((*comparison, text.strip_prefix(sign)?)));
        let (comparison, rest) = found.ok_or("expected <, <=, >, >=, == or != at the beginning")?;
        let (digits, is_percent) = match rest.trim().strip_suffix('%') {
            Some(digits) => (digits.trim_end(), true),
            None => (rest.trim(), false),
        };
        let number = digits.parse().ok().and_then(Number::new);
        let number =
            number.ok_or_else(|| format!("`{}` is not a number", digits.escape_debug()))?;
        let number = if is_percent {
            Number(number.0 / 100.0)
        } else {
            number
        };
        Ok(Self {
            comparison,
            number,
            is_percent,
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.comparison {
            Comparison::Less => "< ",
            Comparison::AtMost => "<= ",
            Comparison::More => "> ",
            Comparison::AtLeast => ">= ",
            Comparison::Equal => "== ",
            Comparison::NotEqual => "!= ",
        })?;
        if self.is_percent {
            write!(f, "{}%", Number(self.number.0 * 100.0))
        } else {
            self.number.fmt(f)
        }
    }
}

impl Measurement {
    pub fn of(number: f64, success: &Bound) -> Self {
        let Some(value) = Number::new(number) else {
            return Self::inconclusive(format!("{number} is not a number"));
        };
        let (finding, verb) = if success.admits(number) {
            (Finding::Success, "is")
        } else {
            (Finding::Failure, "is not")
        };
        let shown = if success.is_percent {
            format!("{}%", Number(number * 100.0))
        } else {
            value.to_string()
        };
        Self {
            finding,
            detail: format!("{shown} {verb} {success}"),
            value: Some(value),
        }
    }

    /// The measurement by a command. Exit status 0 is a success, unless a bound on the printed
    /// number decides. Status 1 is a failure, any other status an error.
    pub fn of_command(status: i32, stdout: &str, stderr: &str, success: Option<&Bound>) -> Self {
        const OUTPUT_CHARS_MAX: usize = 200;
        let last_line = |text: &str| {
            text.trim()
                .lines()
                .next_back()
                .unwrap_or_default()
                .to_owned()
        };
        let output = if stdout.trim().is_empty() {
            last_line(stderr)
        } else {
            last_line(stdout)
        };
        let output: String = strip_controls(&output).take(OUTPUT_CHARS_MAX).collect();
        let with_output = |what: String| {
            if output.is_empty() {
                what
            } else {
                format!("{what}: {output}")
            }
        };
        match (status, success) {
            (0, None) => Self {
                finding: Finding::Success,
                detail: with_output("exit status 0".to_owned()),
                value: None,
            },
            (0, Some(success)) => match stdout.trim().parse() {
                Ok(number) => Self::of(number, success),
                Err(_) => Self::error(with_output("the command did not print a number".to_owned())),
            },
            (1, _) => Self {
                finding: Finding::Failure,
                detail: with_output("exit status 1".to_owned()),
                value: None,
            },
            (status, _) => Self::error(with_output(format!("exit status {status}"))),
        }
    }

    /// A measurement without a number, or without enough data.
    pub fn inconclusive(detail: impl Into<String>) -> Self {
        Self {
            finding: Finding::Inconclusive,
            detail: detail.into(),
            value: None,
        }
    }

    pub fn error(detail: impl Into<String>) -> Self {
        Self {
            finding: Finding::Error,
            detail: detail.into(),
            value: None,
        }
    }
}

impl Record {
    /// Adds a measurement to the results before it.
    pub fn add_to(record: Option<Self>, at: Time, finding: Finding, detail: &str) -> Self {
        let empty = Self {
            since: at,
            last: at,
            finding,
            detail: String::new(),
            failures: 0,
            inconclusive: 0,
            errors_in_a_row: 0,
        };
        let mut record = record.unwrap_or(empty);
        (record.last, record.finding, record.detail) = (at, finding, detail.to_owned());
        let errors = record.errors_in_a_row + 1;
        record.errors_in_a_row = 0;
        match finding {
            Finding::Success => {}
            Finding::Failure => record.failures += 1,
            Finding::Inconclusive => record.inconclusive += 1,
            Finding::Error => record.errors_in_a_row = errors,
        }
        record
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Finding::Success => "passed",
            Finding::Failure => "failed",
            Finding::Inconclusive => "inconclusive",
            Finding::Error => "error",
        })
    }
}
