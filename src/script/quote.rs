//! Quoting: the only way in which values get into a shell's text.

/// The text as one word of a POSIX shell. NULs are removed, because no command line can contain
/// them.
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
    fn quote_escapes_single_quotes() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quote(""), "''");
    }
}
