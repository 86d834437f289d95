//! Redacts secrets in all output: a service may print its password to its log, of which ship shows
//! the last lines.

/// What replaces a secret.
const REPLACEMENT: &str = "…";
/// A shorter text is not redacted, because it occurs in ordinary words.
const SECRET_CHARS_MIN: usize = 4;

/// Redacts secrets in texts.
#[derive(Clone, Default)]
pub struct Redactor(Vec<String>);

impl Redactor {
    /// Redacts these secrets, and users and passwords in URLs.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<_> = secrets
            .into_iter()
            .filter(|secret| secret.chars().count() >= SECRET_CHARS_MIN)
            .collect();
        // The longest first: a secret may contain another one, and must be redacted as a whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The text with every secret replaced.
    pub fn redact(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret, REPLACEMENT)
        });
        redact_logins(&text)
    }
}

/// The text with `https://user:password@host` as `https://…@host`.
fn redact_logins(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(|c: char| {
            c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>')
        });
        let authority = &after[..end.unwrap_or(after.len())];
        rest = match authority.rfind('@') {
            Some(at) => {
                shown.push_str(REPLACEMENT);
                &after[at..]
            }
            None => after,
        };
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redactor_replaces_every_secret() {
        let redactor = Redactor::new([
            "hunter2".to_owned(),
            "hunter2-and-more".to_owned(),
            "abc".to_owned(),
        ]);
        assert_eq!(
            redactor.redact("abc: hunter2-and-more, hunter2"),
            "abc: …, …"
        );
    }

    #[test]
    fn redactor_replaces_logins_in_urls() {
        let redacted = |text| Redactor::default().redact(text);
        assert_eq!(
            redacted("see https://me:pa:ss@example.org/a@b?c, or http://x/y@z"),
            { "see https://…@example.org/a@b?c, or http://x/y@z" }
        );
        assert_eq!(redacted("nothing :// here"), "nothing :// here");
        assert_eq!(redacted("postgres://u:p@"), "postgres://…@");
    }
}
