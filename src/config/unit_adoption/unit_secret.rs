//! Recognizes secrets in a unit, which must not be written in clear.

/// Words in the name of a variable or an option whose value is probably a secret.
const SECRET_WORDS: [&str; 7] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
];
/// The end of a part of such a name, as in `requirepass`.
const SECRET_END: &str = "PASS";
/// Ends of the names of variables and options that name a file.
const FILE_ENDS: [&str; 3] = ["FILE", "PATH", "DIR"];

/// Whether a variable is probably a secret.
pub(super) fn is_secret_variable(name: &str, value: &str) -> bool {
    let is_file = names_file(name) && is_file_name(value);
    !value.is_empty() && (is_secret_name(name) && !is_file || has_password(value))
}

/// Whether a name means a secret: `DB_PASSWORD`, `requirepass`.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut parts = name.split(['_', '-', '.']);
    SECRET_WORDS.iter().any(|word| name.contains(word))
        || parts.any(|part| part.ends_with(SECRET_END))
}

/// Whether a name means a file: `TLS_KEY_FILE`.
fn names_file(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let last = name.rsplit(['_', '-', '.']).next().unwrap_or_default();
    FILE_ENDS.iter().any(|end| last.ends_with(end))
}

/// Whether a text contains a URL with a password: `postgres://app:hunter2@db/app`.
pub(super) fn has_password(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("://") {
        let authority = after.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        if user
            .and_then(|user| user.split_once(':'))
            .is_some_and(|(_, password)| !password.is_empty())
        {
            return true;
        }
        rest = after;
    }
    false
}

/// The variable for the value of an option, if the value is probably a secret: `--requirepass` is
/// `REQUIREPASS`.
pub(super) fn secret_option(option: &str) -> Option<String> {
    let name = option.strip_prefix('-')?.trim_start_matches('-');
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let is_secret = is_secret_name(&name) && !names_file(&name);
    (is_secret && crate::config::names::VARIABLE.check(&name).is_ok()).then_some(name)
}

/// Whether the value of an option is a file, and not the secret itself.
pub(super) fn is_file_name(value: &str) -> bool {
    value.starts_with(['/', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognized_by_name_and_by_url() {
        for (name, value) in [
            ("DB_PASSWORD", "x"),
            ("api_token", "x"),
            ("SIGNING_KEY", "x"),
            ("DATABASE_URL", "postgres://app:hunter2@db/app"),
        ] {
            assert!(is_secret_variable(name, value), "{name}");
        }
        for (name, value) in [
            ("TLS_KEY_FILE", "/etc/key.pem"),
            ("DATABASE_URL", "postgres://app@db:5432/app"),
            ("PASSWORD", ""),
            ("PASSENGER_ENV", "production"),
            ("LANG", "C.UTF-8"),
        ] {
            assert!(!is_secret_variable(name, value), "{name}");
        }
        assert_eq!(
            secret_option("--requirepass").as_deref(),
            Some("REQUIREPASS")
        );
        assert_eq!(secret_option("--tls-key-file"), None);
        assert_eq!(secret_option("--port"), None);
        assert_eq!(secret_option("password"), None);
    }
}
