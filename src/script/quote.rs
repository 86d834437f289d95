//! The only way in which a name or a value gets into a shell's text.

/// The text as one word of a POSIX shell, whatever it holds. A NUL, which no command line can
/// carry, is left out.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', r"'\''"))
}

/// The words, each quoted, as a command line.
pub(super) fn quote_all(words: &[String]) -> String {
    words
        .iter()
        .map(|word| quote(word))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use crate::script::quote::*;

    #[test]
    fn a_quote_within_quotes_stays_a_quote() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quote(""), "''");
    }
}
