//! The one way in which a name or a value gets into a shell's text.

/// The text as one word of a POSIX shell, whatever it holds (but NUL, which no command line can carry).
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_within_quotes_stays_a_quote() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quote(""), "''");
    }
}
