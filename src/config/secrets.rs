//! Secrets. They are read when they are needed, never printed, and never stored on this machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::names::{VARIABLE, check_variable_value};
use super::value::Located;
use crate::config::service::ServiceConfig;

/// The values by variable. They cannot be printed or serialized.
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

    /// The variables and their values, for the files on the hosts.
    pub fn expose(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// Reads the secrets of a service: from its `env_file`, and those in `secrets` from `variable`
/// (usually `std::env::var_os`).
///
/// A line of the file is `KEY=VALUE`, empty, or a comment that begins with `#`. The value is used
/// literally, without blanks around it and without one pair of quotes around the whole value.
///
/// # Errors
/// All missing or invalid secrets. No message shows a line of the file or a value.
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
            let message = format!("variable `{}` is also in `env_file`", name.value);
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
        let diagnostic = wrong(format!(
            "secret `{}` is not set in the environment",
            name.value
        ));
        return Err(Box::new(diagnostic.help(format!(
            "set it only for ship: {}=… ship deploy …",
            name.value
        ))));
    };
    let value = value.into_string().map_err(|_| {
        Box::new(wrong(format!(
            "the value of `{}` in the environment is not valid UTF-8",
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
                "the file with secrets is not valid UTF-8",
            ));
            return;
        }
        Err(why) => {
            let diagnostic = Diagnostic::at(&file.place, format!("cannot read {shown}: {why}"));
            found.push(diagnostic.help("the path is relative to the playbook"));
            return;
        }
    };
    // Some editors write a byte order mark.
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
            let message = format!("the value{of} spans {} lines; expected one", more + 1);
            found.push(Diagnostic::line(&shown, index + 1, 1, message).help(MULTI_LINE));
            // Skip the further lines: they belong to the secret and are not errors of their own.
            rest.by_ref().take(more).for_each(drop);
            continue;
        }
        match assignment(line) {
            Ok(None) => {}
            Ok(Some((key, _))) if secrets.contains_key(key) || service.env.contains_key(key) => {
                let message = format!("variable `{key}` is defined twice");
                found.push(
                    Diagnostic::line(&shown, index + 1, 1, message)
                        .help("keep one definition, here or in `env`"),
                );
            }
            Ok(Some((key, value))) => drop(secrets.insert(key.to_owned(), value.to_owned())),
            Err((column, message, help)) => {
                found.push(Diagnostic::line(&shown, index + 1, column, message).help(help));
            }
        }
    }
}

const MULTI_LINE: &str = "encode the value on one line, for example with `base64 -w0`, and decode \
                          it in the service; or put it in a file of the artifact";

/// Detects a value that continues over the next lines, in quotes or in PEM format. Returns the
/// variable and the number of further lines.
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
        // A line that is itself a valid variable cannot be the end of the value.
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

/// Parses a line into key and value; `None` if it is empty or a comment.
fn assignment(line: &str) -> Result<Option<(&str, &str)>, Wrong> {
    const FORM: &str = "write KEY=VALUE, with letters, digits and `_` in the key";
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = trimmed
        .split_once('=')
        .ok_or((1, "this line is not KEY=VALUE", FORM))?;
    // An invalid key may be part of a secret, so it is not shown.
    if VARIABLE.check(key).is_err() {
        let help = if key.starts_with("export ") {
            "leave out `export`"
        } else {
            FORM
        };
        return Err((
            1,
            "this line does not begin with the name of a variable and `=`",
            help,
        ));
    }
    let column = line.chars().count() - line.trim_start().chars().count() + key.len() + 2;
    let value = unquoted(value.trim()).ok_or((
        column,
        "this value has an unclosed quote",
        "put the whole value in the other kind of quotes, on one line: KEY='a\"b'",
    ))?;
    if check_variable_value(value).is_err() {
        return Err((
            column,
            "this value contains a control character",
            "encode the value, for example in base64",
        ));
    }
    Ok(Some((key, value)))
}

/// Removes one pair of quotes around the whole value; `None` if one of the two is missing.
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
    fn assignment_uses_the_value_literally() {
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
    fn assignment_rejects_invalid_lines() {
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
    fn multi_line_value_is_detected() {
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
            "an unclosed quote"
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
