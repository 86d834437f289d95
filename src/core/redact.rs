//! Redacts secrets in all output: a service may print its password into its log, whose last lines
//! are shown.

/// Stands in place of a secret.
const COVER: &str = "…";
/// A shorter text is no secret, and redacting it would cover half of every text.
const SECRET_CHARS_MIN: usize = 4;

/// The texts that must not be shown.
#[derive(Clone, Default)]
pub struct Redactor(Vec<String>);

impl Redactor {
    /// Redacts these texts, and users and passwords in URLs.
    pub fn over(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<_> = secrets
            .into_iter()
            .filter(|secret| secret.chars().count() >= SECRET_CHARS_MIN)
            .collect();
        // One may be a part of another: what is left of that would tell.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// Replaces the secrets in `text`.
    pub fn hide(&self, text: &str) -> String {
        let text = self
            .0
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, COVER));
        without_logins(&text)
    }
}

/// The text with `https://user:password@host` as `https://…@host`.
fn without_logins(text: &str) -> String {
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
                shown.push_str(COVER);
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
    fn a_secret_is_covered_wherever_it_stands() {
        let veil = Redactor::over([
            "hunter2".to_owned(),
            "hunter2-and-more".to_owned(),
            "abc".to_owned(),
        ]);
        assert_eq!(veil.hide("abc: hunter2-and-more, hunter2"), "abc: …, …");
    }

    #[test]
    fn a_password_in_a_url_is_none_of_the_readers() {
        let hidden = |text| Redactor::default().hide(text);
        assert_eq!(
            hidden("see https://me:pa:ss@example.org/a@b?c, or http://x/y@z"),
            { "see https://…@example.org/a@b?c, or http://x/y@z" }
        );
        assert_eq!(hidden("nothing :// here"), "nothing :// here");
        assert_eq!(hidden("postgres://u:p@"), "postgres://…@");
    }
}
