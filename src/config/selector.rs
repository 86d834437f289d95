//! Reads a label selector: `role=app`, `role!=db`, `role in (app, batch)`, `zone`, joined by commas.

use std::collections::BTreeSet;
use std::ops::Range;

use super::names;
use super::toml_tree::Node;
use super::value::{Faults, ValueError, line, quoted};
use crate::core::fleet::selector::{LabelTest, Requirement, Selector};

const HELP: &str = "for example: role=app, role!=db, role in (app, batch), role notin (db), zone or \
                    !zone, joined by commas";

/// Reads a selector. Errors point at the part of the text that is wrong.
pub(super) fn selector(node: &Node) -> Result<Selector, Faults> {
    let text = line(node)?;
    parse(&text).map_err(|fault| {
        // The text begins after the opening quote.
        let quotes = node.place.text().find(text.as_str()).unwrap_or(0);
        let range = fault.range.start + quotes..fault.range.end + quotes;
        let place = node.place.part(&range);
        let message = format!("is not a valid selector: {}", fault.message);
        ValueError::new(message).help(HELP).place(&place).into()
    })
}

/// An error in a selector, and the bytes that it concerns.
struct SelectorFault {
    range: Range<usize>,
    message: String,
}

fn parse(text: &str) -> Result<Selector, SelectorFault> {
    let mut parser = Parser {
        tokens: tokens(text),
        next: 0,
        end: text.trim_end().len(),
    };
    let mut requirements = vec![parser.requirement()?];
    while let Some(token) = parser.take() {
        if token.text != "," {
            return Err(token.unexpected("a comma"));
        }
        requirements.push(parser.requirement()?);
    }
    Ok(Selector(requirements))
}

#[derive(Clone, Debug)]
struct SelectorToken<'a> {
    text: &'a str,
    start: usize,
}

impl SelectorToken<'_> {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    fn unexpected(&self, wanted: &str) -> SelectorFault {
        SelectorFault {
            range: self.range(),
            message: format!("expected {wanted}, found {}", quoted(self.text)),
        }
    }

    fn is_operator(&self) -> bool {
        matches!(self.text, "=" | "==" | "!=" | "!" | "(" | ")" | ",")
    }
}

/// Splits a selector into words and operators.
fn tokens(text: &str) -> Vec<SelectorToken<'_>> {
    let is_operator = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',');
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return tokens;
        };
        let length = match first {
            '=' if rest.starts_with("==") => 2,
            '!' if rest.starts_with("!=") => 2,
            first if is_operator(first) => 1,
            _ => rest
                .find(|c: char| c.is_whitespace() || is_operator(c))
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        let start = text.len() - rest.len();
        tokens.push(SelectorToken { text: token, start });
        rest = after;
    }
}

struct Parser<'a> {
    tokens: Vec<SelectorToken<'a>>,
    next: usize,
    /// The end of the text, for errors about what is missing there.
    end: usize,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Option<SelectorToken<'a>> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    /// The next token if it is one of these words.
    fn take_if(&mut self, words: &[&str]) -> Option<SelectorToken<'a>> {
        let token = self.tokens.get(self.next)?;
        if !words.contains(&token.text) {
            return None;
        }
        self.take()
    }

    fn word(&mut self, wanted: &str) -> Result<SelectorToken<'a>, SelectorFault> {
        match self.take() {
            Some(token) if token.is_operator() => Err(token.unexpected(wanted)),
            Some(token) => Ok(token),
            None => Err(SelectorFault {
                range: self.end..self.end,
                message: format!("expected {wanted} at the end"),
            }),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorFault> {
        let is_absent = self.take_if(&["!"]).is_some();
        let label = self.word("the name of a label")?;
        if let Err(fault) = names::LABEL.check(label.text) {
            return Err(SelectorFault {
                range: label.range(),
                message: format!("{} {}", quoted(label.text), fault.message),
            });
        }
        let test = if is_absent {
            LabelTest::Absent
        } else if self.take_if(&["=", "=="]).is_some() {
            LabelTest::In(self.value()?)
        } else if self.take_if(&["!="]).is_some() {
            LabelTest::NotIn(self.value()?)
        } else if self.take_if(&["in"]).is_some() {
            LabelTest::In(self.values()?)
        } else if self.take_if(&["notin"]).is_some() {
            LabelTest::NotIn(self.values()?)
        } else {
            LabelTest::Exists
        };
        Ok(Requirement {
            label: label.text.to_owned(),
            test,
        })
    }

    fn value(&mut self) -> Result<BTreeSet<String>, SelectorFault> {
        let value = self.word("a value")?;
        Ok(BTreeSet::from([value.text.to_owned()]))
    }

    /// Reads `(app, batch)`.
    fn values(&mut self) -> Result<BTreeSet<String>, SelectorFault> {
        self.operator("(")?;
        let mut values = self.value()?;
        while self.take_if(&[","]).is_some() {
            values.extend(self.value()?);
        }
        self.operator(")")?;
        Ok(values)
    }

    fn operator(&mut self, operator: &str) -> Result<(), SelectorFault> {
        let wanted = format!("`{operator}`");
        match self.take() {
            Some(token) if token.text == operator => Ok(()),
            Some(token) => Err(token.unexpected(&wanted)),
            None => Err(SelectorFault {
                range: self.end..self.end,
                message: format!("expected {wanted} at the end"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn selector_matches_as_in_kubernetes() {
        let app = labels(&[("role", "app"), ("zone", "a")]);
        let db = labels(&[("role", "db")]);
        let bare = labels(&[]);
        // Whether it matches a host with role=app and zone=a, one with role=db, one without labels.
        let cases = [
            ("role=app", [true, false, false]),
            ("role == app", [true, false, false]),
            ("role!=app", [false, true, true]),
            ("role in (app, db)", [true, true, false]),
            ("role in (app,batch)", [true, false, false]),
            ("role notin (app, db)", [false, false, true]),
            ("zone", [true, false, false]),
            ("!zone", [false, true, true]),
            ("role, !zone", [false, true, false]),
            ("role in (app, db),zone=a", [true, false, false]),
            ("in in (in)", [false, false, false]),
        ];
        for (text, wanted) in cases {
            let selector = parse(text).unwrap_or_else(|fault| panic!("{text}: {}", fault.message));
            let matched = [&app, &db, &bare].map(|labels| selector.matches(labels));
            assert_eq!(matched, wanted, "{text}");
        }
    }

    #[test]
    fn error_names_the_part_that_is_wrong() {
        let cases = [
            ("role=", 5..5, "expected a value at the end"),
            ("role=app,", 9..9, "expected the name of a label at the end"),
            ("role in app", 8..11, "expected `(`, found `app`"),
            ("role in (app", 12..12, "expected `)` at the end"),
            ("role in ()", 9..10, "expected a value, found `)`"),
            ("role app", 5..8, "expected a comma, found `app`"),
            ("=app", 0..1, "expected the name of a label, found `=`"),
            ("!", 1..1, "expected the name of a label at the end"),
            ("role=app=b", 8..9, "expected a comma, found `=`"),
            ("role > 3", 5..6, "expected a comma, found `>`"),
        ];
        for (text, range, message) in cases {
            let fault = parse(text).expect_err(text);
            assert_eq!(
                (fault.range, fault.message.as_str()),
                (range, message),
                "{text}"
            );
        }
    }
}
