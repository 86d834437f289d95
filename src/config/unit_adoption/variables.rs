//! The variables of a unit, as `systemctl show` prints them.

/// Parses the words of the property `Environment`: plain, in double quotes, or as `$'…'`.
pub(super) fn variables(property: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut rest = property.trim_start();
    while !rest.is_empty() {
        let (word, after) = if let Some(quoted) = rest.strip_prefix("$'") {
            quoted_word(quoted, '\'')
        } else if let Some(quoted) = rest.strip_prefix('"') {
            quoted_word(quoted, '"')
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            (word.to_owned(), after)
        };
        if let Some((name, value)) = word.split_once('=') {
            // The last value counts.
            variables.retain(|(known, _): &(String, String)| known != name);
            variables.push((name.to_owned(), value.to_owned()));
        }
        rest = after.trim_start();
    }
    variables
}

/// The text until the closing quote, and what follows.
fn quoted_word(text: &str, close: char) -> (String, &str) {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == close => return (word, text.get(at + 1..).unwrap_or_default()),
            '\\' => match chars.next() {
                Some((_, 'n')) if close == '\'' => word.push('\n'),
                Some((_, 't')) if close == '\'' => word.push('\t'),
                Some((_, c)) => word.push(c),
                None => {}
            },
            c => word.push(c),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_unquoted() {
        let shown =
            r#""GREETING=hello world" QUEUE=mail "Q=it's \"so\"" "D=a\$\$b" $'L=1\n2' QUEUE=x E="#;
        let expected = [
            ("GREETING", "hello world"),
            ("Q", "it's \"so\""),
            ("D", "a$$b"),
            ("L", "1\n2"),
            ("QUEUE", "x"),
            ("E", ""),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables(shown), expected);
        assert_eq!(variables(""), []);
    }
}
