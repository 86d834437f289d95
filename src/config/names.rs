//! The rules for names, which must be safe in paths, unit names, arguments and tables.

use super::toml_tree::Node;
use super::value::{Faults, ValueError, line, quoted, string};

pub(super) struct NameRule {
    noun: &'static str,
    first: fn(char) -> bool,
    rest: fn(char) -> bool,
    chars_max: usize,
    allowed: &'static str,
}

/// The name of a service, which is part of unit names, directories and user names.
pub(super) const SERVICE: NameRule = NameRule {
    noun: "the name of a service",
    first: |c| c.is_ascii_lowercase(),
    rest: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
    chars_max: 41,
    allowed: "a to z, 0 to 9 and -, beginning with a letter",
};

pub(super) const HOST: NameRule = NameRule {
    noun: "the name of a host",
    first: |c| c.is_ascii_alphanumeric(),
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
    chars_max: 63,
    allowed: "letters, digits, `.`, `_` and `-`, beginning with a letter or a digit",
};

pub(super) const FLEET: NameRule = NameRule {
    noun: "the name of a fleet",
    ..HOST
};

pub(super) const VERSION: NameRule = NameRule {
    noun: "a version",
    first: |c| c.is_ascii_alphanumeric(),
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '~' | '-'),
    chars_max: 64,
    allowed: "letters, digits, `.`, `_`, `+`, `~` and `-`, beginning with a letter or a digit",
};

pub(super) const VARIABLE: NameRule = NameRule {
    noun: "the name of a variable",
    first: |c| c.is_ascii_alphabetic() || c == '_',
    rest: |c| c.is_ascii_alphanumeric() || c == '_',
    chars_max: 255,
    allowed: "letters, digits and `_`, not beginning with a digit",
};

/// The name of a port, which is a variable in templates.
pub(super) const PORT: NameRule = NameRule {
    noun: "the name of a port",
    first: |c| c.is_ascii_lowercase(),
    rest: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_',
    chars_max: 30,
    allowed: "a to z, 0 to 9 and `_`, beginning with a letter",
};

/// A directory within a release.
pub(super) const SHARED_DIR: NameRule = NameRule {
    noun: "a shared directory",
    first: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'),
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'),
    chars_max: 200,
    allowed: "letters, digits, `.`, `_`, `-` and `/`, beginning with a letter, a digit, `.` or `_`",
};

/// The name of a systemd directive.
pub(super) const DIRECTIVE: NameRule = NameRule {
    noun: "a directive",
    first: |c| c.is_ascii_uppercase(),
    rest: |c| c.is_ascii_alphanumeric() || c == '-',
    chars_max: 60,
    allowed: "letters, digits and `-`, beginning with a capital letter, as in MemoryMax",
};

pub(super) const LABEL: NameRule = NameRule {
    noun: "the name of a label",
    first: |c| c.is_ascii_alphanumeric(),
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'),
    chars_max: 63,
    allowed: "letters, digits, `.`, `_`, `-` and `/`, beginning with a letter or a digit",
};

/// The id of a migration, which is a file name on the hosts.
const MIGRATION: NameRule = NameRule {
    noun: "the id of a migration",
    first: |c| c.is_ascii_alphanumeric() || c == '_',
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
    chars_max: 100,
    allowed: "letters, digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`",
};

/// A user to log in as.
pub(super) const LOGIN: NameRule = NameRule {
    noun: "the name of a user",
    first: |c| c.is_ascii_alphanumeric() || c == '_',
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '\\'),
    chars_max: 255,
    allowed: "letters, digits, `.`, `_`, `-`, `@` and `\\`, beginning with a letter, a digit or \
              `_`",
};

/// A user that a service runs as.
pub(super) const USER: NameRule = NameRule {
    noun: "the name of a user",
    first: |c| c.is_ascii_alphabetic() || c == '_',
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'),
    chars_max: 31,
    allowed: "letters, digits, `_` and `-`, beginning with a letter or `_`",
};

/// An address: a DNS name, a host of `ssh_config`, or an IP address.
pub(super) const ADDRESS: NameRule = NameRule {
    noun: "an address",
    first: |c| c.is_ascii_alphanumeric() || c == ':',
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '%'),
    chars_max: 253,
    allowed: "letters, digits, `.`, `_`, `-`, `:` and `%` (the port is a separate key, `port`)",
};

/// A backend, an upstream or a server of a balancer.
pub(super) const PROXY: NameRule = NameRule {
    noun: "a name in a balancer",
    first: |c| c.is_ascii_alphanumeric() || c == '_',
    rest: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':'),
    chars_max: 200,
    allowed: "letters, digits, `.`, `_`, `-` and `:`, beginning with a letter, a digit or `_`",
};

/// Options of an `HAProxy` server. They are sent to the runtime API, where `;` and line breaks end
/// a command.
const SERVER_OPTIONS: NameRule = NameRule {
    noun: "a list of server options",
    first: |c| c.is_ascii_alphanumeric(),
    rest: |c| {
        c.is_ascii_alphanumeric()
            || matches!(
                c,
                ' ' | '.' | '_' | '-' | '/' | ':' | ',' | '@' | '%' | '+' | '=' | '(' | ')' | '*'
            )
    },
    chars_max: 1000,
    allowed: "words of letters, digits and `._-/:,@%+=()*`, for example \"maxconn 100 send-proxy\"",
};

impl NameRule {
    pub(super) fn check(&self, text: &str) -> Result<(), ValueError> {
        let Self {
            noun,
            first,
            rest,
            chars_max,
            allowed,
        } = self;
        let wrong = |why: String| {
            Err(ValueError::new(why).help(format!(
                "{noun} may have up to {chars_max} characters: {allowed}"
            )))
        };
        let mut chars = text.chars();
        match chars.next() {
            None => return wrong("must not be empty".to_owned()),
            Some(c) if !first(c) => {
                return wrong(format!(
                    "cannot begin with {}: {}",
                    quoted(&c.to_string()),
                    quoted(text)
                ));
            }
            Some(_) => {}
        }
        if let Some(c) = chars.find(|c| !rest(*c)) {
            return wrong(format!(
                "cannot contain {}: {}",
                quoted(&c.to_string()),
                quoted(text)
            ));
        }
        if text.chars().count() > *chars_max {
            return wrong(format!("is too long: {}", quoted(text)));
        }
        Ok(())
    }

    fn read(&self, node: &Node) -> Result<String, Faults> {
        let text = string(node)?;
        self.check(&text)?;
        Ok(text)
    }
}

pub(super) fn service(node: &Node) -> Result<String, Faults> {
    SERVICE.read(node)
}

pub(super) fn host(node: &Node) -> Result<String, Faults> {
    HOST.read(node)
}

pub(super) fn fleet(node: &Node) -> Result<String, Faults> {
    FLEET.read(node)
}

pub(super) fn version(node: &Node) -> Result<String, Faults> {
    VERSION.read(node)
}

pub(super) fn variable(node: &Node) -> Result<String, Faults> {
    VARIABLE.read(node)
}

pub(super) fn migration(node: &Node) -> Result<String, Faults> {
    MIGRATION.read(node)
}

pub(super) fn login(node: &Node) -> Result<String, Faults> {
    LOGIN.read(node)
}

pub(super) fn user(node: &Node) -> Result<String, Faults> {
    USER.read(node)
}

pub(super) fn address(node: &Node) -> Result<String, Faults> {
    ADDRESS.read(node)
}

pub(super) fn label(node: &Node) -> Result<String, Faults> {
    LABEL.read(node)
}

pub(super) fn proxy(node: &Node) -> Result<String, Faults> {
    PROXY.read(node)
}

pub(super) fn server_options(node: &Node) -> Result<String, Faults> {
    SERVER_OPTIONS.read(node)
}

/// Reads the value of a variable, which every supervisor passes on unchanged.
pub(super) fn variable_value(node: &Node) -> Result<String, Faults> {
    let text = string(node)?;
    check_variable_value(&text)?;
    Ok(text)
}

/// Rejects control characters, because older versions of systemd silently drop such variables.
pub(super) fn check_variable_value(text: &str) -> Result<(), ValueError> {
    match text.chars().find(|c| c.is_control() && *c != '\t') {
        None => Ok(()),
        Some('\n' | '\r') => {
            let help = "encode it on one line, for example in base64, or put it in a file of the \
                        artifact";
            Err(ValueError::new("must not contain line breaks").help(help))
        }
        Some(_) => Err(ValueError::new(
            "must not contain control characters other than tabs",
        )),
    }
}

/// Reads a directory on a remote host.
pub(super) fn remote_dir(node: &Node) -> Result<String, Faults> {
    const HELP: &str = "write an absolute path without `..`, for example \"/var/lib/ship\"";
    let text = remote_path(node, HELP)?;
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() {
        return Err(ValueError::new("cannot be the root directory")
            .help(HELP)
            .into());
    }
    Ok(trimmed.to_owned())
}

/// Reads a file on a remote machine.
pub(super) fn remote_file(node: &Node) -> Result<String, Faults> {
    const HELP: &str =
        "write an absolute path without `..`, for example \"/run/haproxy/admin.sock\"";
    let text = remote_path(node, HELP)?;
    if text.ends_with('/') {
        return Err(ValueError::new("cannot be a directory").help(HELP).into());
    }
    Ok(text)
}

fn remote_path(node: &Node, help: &str) -> Result<String, Faults> {
    let text = line(node)?;
    let wrong = |why: &str| Err(ValueError::new(why).help(help).into());
    if !text.starts_with('/') {
        return wrong("must be an absolute path");
    }
    if text.split('/').any(|part| part == "..") {
        return wrong("must not contain `..`");
    }
    Ok(text)
}
