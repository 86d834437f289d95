//! Secrets: read when they are needed, never printed, and never stored on this machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::names::{VARIABLE, check_variable_value};
use super::value::Located;
use crate::config::service::ServiceConfig;

/// The values themselves, by variable. They cannot be printed or serialized.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.keys().map(|key| (key, "…")))
            .finish()
    }
}

impl Secrets {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The variables and their values, to write the hosts' secrets files.
    pub fn expose(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// Reads a service's secrets: its `env_file`, and those `secrets` that `variable` knows
/// (`std::env::var_os`, say).
///
/// A line of the file is `KEY=VALUE`, empty, or a comment that begins with `#`. The value is taken
/// as it stands, without the blanks around it and without one pair of quotes around the whole;
/// nothing in it is expanded.
///
/// # Errors
/// All that is missing or wrong. No message shows a line of the file or a value.
pub fn read_secrets(
    service: &ServiceConfig,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Secrets, Diagnostics> {
    let mut found = Vec::new();
    let mut secrets = BTreeMap::new();
    if let Some(file) = &service.secrets.env_file {
        read_file(file, service, &mut secrets, &mut found);
    }
    for name in &service.secrets.names {
        if secrets.contains_key(&name.value) {
            let message = format!("variable `{}` is in `env_file` already", name.value);
            found.push(Diagnostic::at(&name.place, message).help("keep it in one of the two"));
            continue;
        }
        match from_environment(name, &variable) {
            Ok(value) => drop(secrets.insert(name.value.clone(), value)),
            Err(diagnostic) => found.push(*diagnostic),
        }
    }
    if found.is_empty() {
        Ok(Secrets(secrets))
    } else {
        Err(found.into())
    }
}

fn from_environment(
    name: &Located<String>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<String, Box<Diagnostic>> {
    let wrong = |message: String| Diagnostic::at(&name.place, message);
    let Some(value) = variable(&name.value) else {
        let diagnostic = wrong(format!("secret `{}` is not in the environment", name.value));
        return Err(Box::new(diagnostic.help(format!(
            "set it for ship alone: {}=… ship deploy …",
            name.value
        ))));
    };
    let value = value.into_string().map_err(|_| {
        Box::new(wrong(format!(
            "the value of `{}` in the environment is not UTF-8",
            name.value
        )))
    })?;
    check_variable_value(&value).map_err(|fault| {
        let diagnostic = wrong(format!(
            "the value of `{}` in the environment {}",
            name.value, fault.message
        ));
        Box::new(match fault.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        })
    })?;
    Ok(value)
}

fn read_file(
    file: &Located<PathBuf>,
    service: &ServiceConfig,
    secrets: &mut BTreeMap<String, String>,
    found: &mut Vec<Diagnostic>,
) {
    let shown = file.value.display().to_string();
    let text = match std::fs::read(&file.value).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            found.push(Diagnostic::file(
                shown,
                "the file of secrets is not UTF-8 text",
            ));
            return;
        }
        Err(why) => {
            let diagnostic = Diagnostic::at(&file.place, format!("cannot read {shown}: {why}"));
            found.push(diagnostic.help("the path is taken from the playbook's directory"));
            return;
        }
    };
    // What some editors put at the beginning.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines: Vec<_> = text.lines().collect();
    let mut rest = lines.iter().copied().enumerate();
    while let Some((index, line)) = rest.next() {
        if let Some((name, more)) = further_lines(line, &lines[index + 1..]) {
            let of = if name.is_empty() {
                String::new()
            } else {
                format!(" of `{name}`")
            };
            let message = format!(
                "the value{of} goes on for {} lines; a variable has one",
                more + 1
            );
            found.push(Diagnostic::line(&shown, index + 1, 1, message).help(MULTI_LINE));
            // They are part of a secret, and no faults of their own.
            rest.by_ref().take(more).for_each(drop);
            continue;
        }
        match assignment(line) {
            Ok(None) => {}
            Ok(Some((key, _))) if secrets.contains_key(key) || service.env.contains_key(key) => {
                let message = format!("variable `{key}` is given twice");
                found.push(
                    Diagnostic::line(&shown, index + 1, 1, message)
                        .help("keep it once, here or in `env`"),
                );
            }
            Ok(Some((key, value))) => drop(secrets.insert(key.to_owned(), value.to_owned())),
            Err((column, message, help)) => {
                found.push(Diagnostic::line(&shown, index + 1, column, message).help(help));
            }
        }
    }
}

const MULTI_LINE: &str = "encode the value on one line, with `base64 -w0` for example, and let \
                          the service decode it; or put it \
                          into a file of the artifact";

/// The variable of a value that goes on over the next lines, in quotes or as PEM has it, and over
/// how many.
fn further_lines<'a>(line: &'a str, rest: &[&str]) -> Option<(&'a str, usize)> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let line = line.trim();
    let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    let name = name.strip_prefix("export ").unwrap_or(name);
    let name = if VARIABLE.check(name).is_ok() {
        name
    } else {
        ""
    };
    let value = value.trim();
    let quote = value
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\''))
        .filter(|quote| !value[1..].ends_with(*quote));
    let last = match quote {
        // A line that is a variable of its own ends no other one's value.
        Some(quote) => rest
            .iter()
            .position(|line| line.trim_end().ends_with(quote))
            .filter(|last| !matches!(assignment(rest[*last]), Ok(Some(_)))),
        None if value.starts_with(BEGIN) && !value.contains(END) => {
            rest.iter().position(|line| line.contains(END))
        }
        None => None,
    };
    Some((name, last? + 1))
}

type Wrong = (usize, &'static str, &'static str);

/// The key and the value of a line; `None` where it is empty or a comment.
fn assignment(line: &str) -> Result<Option<(&str, &str)>, Wrong> {
    const FORM: &str = "write KEY=VALUE, with letters, digits and `_` in the key";
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = trimmed
        .split_once('=')
        .ok_or((1, "this line is not KEY=VALUE", FORM))?;
    // A key that is none may be part of a secret: it is not shown.
    if VARIABLE.check(key).is_err() {
        let help = if key.starts_with("export ") {
            "leave out `export`"
        } else {
            FORM
        };
        return Err((
            1,
            "this line does not begin with a variable's name and `=`",
            help,
        ));
    }
    let column = line.chars().count() - line.trim_start().chars().count() + key.len() + 2;
    let value = unquoted(value.trim()).ok_or((
        column,
        "this value begins or ends with a quote that is not closed",
        "put the whole value into the other kind of quotes: KEY='a\"b'; a value has one line",
    ))?;
    if check_variable_value(value).is_err() {
        return Err((
            column,
            "this value holds a control character",
            "encode it, in base64 say",
        ));
    }
    Ok(Some((key, value)))
}

/// Removes one pair of quotes around the whole; `None` where one of the two is missing.
fn unquoted(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        match (value.strip_prefix(quote), value.strip_suffix(quote)) {
            (None, None) => {}
            (Some(rest), Some(_)) if !rest.is_empty() => return rest.strip_suffix(quote),
            _ => return None,
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_as_it_stands() {
        let value = |line| assignment(line).unwrap().unwrap().1;
        assert_eq!(value("A=b"), "b");
        assert_eq!(value("A="), "");
        assert_eq!(value("  A= b # c=$d\\  "), "b # c=$d\\");
        assert_eq!(value("A=' b '"), " b ");
        assert_eq!(value("A=\"it's\""), "it's");
        assert_eq!(value("A='say \"b\"'"), "say \"b\"");
        assert_eq!(value("A=\"\""), "");
        assert_eq!(assignment(" # A=b"), Ok(None));
        assert_eq!(assignment(""), Ok(None));
    }

    #[test]
    fn a_line_that_is_no_assignment_is_refused() {
        for wrong in [
            "hunter2",
            "=b",
            "1A=b",
            "A B=c",
            "export A=b",
            "A=\"b",
            "A=b\"",
            "A='",
            "A=\u{1b}",
        ] {
            assert!(assignment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_of_several_lines_is_found_as_one() {
        let rest = ["MIIB=", "-----END KEY-----", "B=c"];
        assert_eq!(
            further_lines("A=-----BEGIN KEY-----", &rest),
            Some(("A", 2))
        );
        assert_eq!(
            further_lines("A=\"one", &["two", "three\"", "B=c"]),
            Some(("A", 2))
        );
        assert_eq!(further_lines("export A='one", &["two'"]), Some(("A", 1)));
        assert_eq!(further_lines("no name='one", &["two'"]), Some(("", 1)));
        for line in [
            "A=b",
            "A=\"b\"",
            "A=",
            "# A='",
            "A=\"",
            "A=-----BEGIN KEY-----abc-----END KEY-----",
        ] {
            assert_eq!(further_lines(line, &["B=c"]), None, "{line}");
        }
        assert_eq!(
            further_lines("A=\"b", &["B=\"c\""]),
            None,
            "a quote that is not closed"
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let secrets = Secrets(BTreeMap::from([(
            "DB_PASSWORD".to_owned(),
            "hunter2".to_owned(),
        )]));
        assert_eq!(format!("{secrets:?}"), "{\"DB_PASSWORD\": \"…\"}");
    }
}
