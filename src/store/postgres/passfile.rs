//! The password file of `PostgreSQL`, `~/.pgpass`, with the rules of libpq.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The lines of a password file. No `Debug`, because they contain passwords.
#[derive(Default)]
pub(super) struct PasswordFile {
    text: String,
    /// Why the file was not used.
    pub(super) ignored: Option<String>,
}

/// What a password is for.
#[derive(Clone, Copy)]
pub(super) struct PasswordKey<'a> {
    /// The host; for the default directory of sockets `localhost`.
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

impl PasswordFile {
    /// Reads a file if it exists. As with libpq, a file that others may read is ignored.
    pub(super) fn read(path: &Path) -> Self {
        let shown = path.display();
        let ignored = |why: &str| Self {
            text: String::new(),
            ignored: Some(format!("{shown} was ignored: {why}")),
        };
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::default(),
            Err(error) => return ignored(&error.to_string()),
            Ok(found) if !found.is_file() => return ignored("it is not a regular file"),
            Ok(found) if found.mode() & 0o077 != 0 => {
                return ignored("others may access it; run chmod 600");
            }
            Ok(_) => {}
        }
        match fs::read_to_string(path) {
            Ok(text) => Self {
                text,
                ignored: None,
            },
            Err(error) => ignored(&error.to_string()),
        }
    }

    /// The password of the first line that matches.
    pub(super) fn password(&self, key: PasswordKey<'_>) -> Option<String> {
        let port = key.port.to_string();
        let wanted = [key.host, &port, key.database, key.user];
        self.text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .find_map(|line| {
                let (fields, password) = split_line(line)?;
                let matches = fields
                    .iter()
                    .zip(wanted)
                    .all(|(field, wanted)| field.is_none_or(|field| unescape(field) == wanted));
                (matches && !password.is_empty()).then(|| unescape(password))
            })
    }
}

/// The first four fields, `None` for `*`, and the password. Everything is still escaped. The
/// password may contain colons.
fn split_line(line: &str) -> Option<([Option<&str>; 4], &str)> {
    let mut fields = [None; 4];
    let mut rest = line;
    for field in &mut fields {
        let (text, after) = split_field(rest)?;
        *field = (text != "*").then_some(text);
        rest = after;
    }
    Some((fields, rest))
}

/// Splits at the first colon that is not escaped.
fn split_field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (position, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((&text[..position], &text[position + 1..])),
            _ => {}
        }
    }
    None
}

/// Removes the backslashes before `:` and `\`.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn password(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        let file = PasswordFile {
            text: text.to_owned(),
            ignored: None,
        };
        file.password(PasswordKey {
            host,
            port,
            database,
            user,
        })
    }

    #[test]
    fn first_matching_line_has_the_password() {
        let text = "# db1:5432:state:anna:comment\n\
                    not a line\n\
                    db1:5432:state:anna:one\n\
                    db1:*:state:anna:two\n\
                    \\:\\:1:5432:st\\\\ate:anna:th:r\\:e\\\\e\n\
                    *:*:*:bob:four\n";
        let find = |host, port, database, user| password(text, host, port, database, user);
        assert_eq!(find("db1", 5432, "state", "anna").as_deref(), Some("one"));
        assert_eq!(find("db1", 5433, "state", "anna").as_deref(), Some("two"));
        let third = find("::1", 5432, "st\\ate", "anna");
        assert_eq!(third.as_deref(), Some("th:r:e\\e"));
        assert_eq!(find("x", 1, "y", "bob").as_deref(), Some("four"));
        assert_eq!(find("db2", 5432, "state", "anna"), None);
    }

    #[test]
    fn file_that_others_may_read_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        assert!(PasswordFile::read(&path).ignored.is_none());
        fs::write(&path, "*:*:*:*:secret\n").unwrap();
        for (mode, used) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let file = PasswordFile::read(&path);
            assert_eq!(file.text.is_empty(), !used, "{mode:o}");
            assert_eq!(file.ignored.is_none(), used, "{mode:o}");
        }
        assert!(PasswordFile::read(dir.path()).ignored.is_some());
    }
}
