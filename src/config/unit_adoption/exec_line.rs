//! A command of a unit, split into words as systemd does it.

use super::unit_name::UnitName;

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WordPart {
    Text(String),
    /// A variable of the environment. As a word of its own without braces, its value is split into
    /// words.
    Variable {
        name: String,
        is_split: bool,
    },
}

pub(super) type UnitWord = Vec<WordPart>;

/// A command of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExecLine {
    /// The program and its arguments.
    pub(super) words: Vec<UnitWord>,
    /// The characters before the program, each with a meaning.
    pub(super) prefix: String,
    /// Whether the words are certain. If not, quotes may be lost.
    pub(super) is_exact: bool,
}

impl ExecLine {
    /// Reads the last value of a setting such as `ExecStart`, and the property of the same name.
    ///
    /// # Errors
    /// If neither can be read: the reason, as a fragment.
    pub(super) fn read(raw: &str, property: &str, unit: &UnitName) -> Result<Self, String> {
        let line = raw.trim_start_matches(['@', '-', ':', '+', '!', '|']);
        let prefix = raw
            .get(..raw.len() - line.len())
            .unwrap_or_default()
            .to_owned();
        let shown = ShownCommand::parse(property);
        let split = split(line)
            .and_then(|words| {
                let resolve = |word: &String| unit.resolve_all(word);
                words.iter().map(resolve).collect::<Option<Vec<_>>>()
            })
            .map(|mut words| {
                // The second word is what the program sees as its name.
                if prefix.contains('@') && words.len() > 1 {
                    words.remove(1);
                }
                words
            });
        let is_same = |words: &Vec<String>| match &shown {
            Some(shown) => {
                words.get(1..).map(|words| words.join(" ")).as_deref() == Some(&shown.arguments)
            }
            None => true,
        };
        let (mut words, is_exact) = match (split.filter(is_same), &shown) {
            (Some(words), _) => (words, true),
            (None, Some(shown)) => {
                let words = shown.arguments.split_whitespace().map(str::to_owned);
                (
                    std::iter::once(shown.path.clone()).chain(words).collect(),
                    false,
                )
            }
            (None, None) => return Err(format!("`{line}` has an open quote or an unknown %")),
        };
        if let (Some(program), Some(shown)) = (words.first_mut(), shown) {
            // systemd has found the program in its path.
            *program = shown.path;
        }
        if words.first().is_none_or(String::is_empty) {
            return Err("it is empty".to_owned());
        }
        let expands = !prefix.contains(':');
        let parts = |word: String| {
            if expands {
                parts(&word)
            } else {
                vec![WordPart::Text(word)]
            }
        };
        Ok(Self {
            words: words.into_iter().map(parts).collect(),
            prefix,
            is_exact,
        })
    }

    pub(super) fn program(&self) -> &str {
        match self.words.first().map(Vec::as_slice) {
            Some([WordPart::Text(path), ..]) => path,
            _ => "",
        }
    }

    /// Whether systemd replaces a variable in a word other than `$MAINPID`.
    pub(super) fn has_variables(&self) -> bool {
        let is_variable =
            |part: &WordPart| matches!(part, WordPart::Variable { name, .. } if name != "MAINPID");
        self.words.iter().flatten().any(is_variable)
    }

    /// The texts of the words, without variables.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.words.iter().flatten().filter_map(|part| match part {
            WordPart::Text(text) => Some(text.as_str()),
            WordPart::Variable { .. } => None,
        })
    }
}

/// A command as `systemctl show` prints it, where arguments have no quotes.
struct ShownCommand {
    path: String,
    /// All arguments after the name of the program.
    arguments: String,
}

impl ShownCommand {
    /// Parses `{ path=/bin/a ; argv[]=/bin/a -b ; ignore_errors=no ; … }`.
    fn parse(property: &str) -> Option<Self> {
        let (path, rest) = property.strip_prefix("{ path=")?.split_once(" ; argv[]=")?;
        let (argv, _) = rest.rsplit_once(" ; ignore_errors=")?;
        let arguments = argv.split_once(' ').map_or("", |(_, arguments)| arguments);
        Some(Self {
            path: path.to_owned(),
            arguments: arguments.to_owned(),
        })
    }
}

/// Splits a line into words; `None` if a quote is open.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, '\\') => word.get_or_insert_default().push_str(&escape(&mut chars)?),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The character after a backslash. An unknown escape keeps its backslash.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let c = chars.next()?;
    Some(match c {
        'n' => "\n".to_owned(),
        't' => "\t".to_owned(),
        's' => " ".to_owned(),
        '\\' | '"' | '\'' | ';' => c.to_string(),
        'x' => {
            let digits: String = [chars.next()?, chars.next()?].iter().collect();
            let byte = u8::from_str_radix(&digits, 16).ok()?;
            char::from(byte).to_string()
        }
        c => format!("\\{c}"),
    })
}

/// Finds the variables in a word: `${NAME}` anywhere, `$NAME` as the whole word, `$$` for `$`.
fn parts(word: &str) -> UnitWord {
    if let Some(name) = word.strip_prefix('$').filter(|name| is_variable(name)) {
        return vec![WordPart::Variable {
            name: name.to_owned(),
            is_split: true,
        }];
    }
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
            .filter(|(name, _)| is_variable(name));
        if let Some((name, after)) = braced {
            if !text.is_empty() {
                parts.push(WordPart::Text(std::mem::take(&mut text)));
            }
            parts.push(WordPart::Variable {
                name: name.to_owned(),
                is_split: false,
            });
            rest = after;
        } else {
            text.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    text.push_str(rest);
    if !text.is_empty() || parts.is_empty() {
        parts.push(WordPart::Text(text));
    }
    parts
}

fn is_variable(name: &str) -> bool {
    crate::config::names::VARIABLE.check(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str, shown: &str) -> ExecLine {
        let unit = UnitName::parse("worker@mail").expect("a valid name");
        ExecLine::read(raw, shown, &unit).expect("a command")
    }

    fn text(text: &str) -> UnitWord {
        vec![WordPart::Text(text.to_owned())]
    }

    fn variable(name: &str, is_split: bool) -> WordPart {
        let name = name.to_owned();
        WordPart::Variable { name, is_split }
    }

    #[test]
    fn words_are_split_as_systemd_does() {
        let shown = "{ path=/usr/bin/w ; argv[]=w -q mail $OPTS --g=${G} two  words; $$H ; \
                     ignore_errors=no ; pid=1 }";
        let line = read("w -q %i $OPTS \"--g=${G}\" 'two  words; $$H'", shown);
        assert!(line.is_exact);
        let greeting = [text("--g="), vec![variable("G", false)]].concat();
        assert_eq!(
            line.words,
            [
                text("/usr/bin/w"),
                text("-q"),
                text("mail"),
                vec![variable("OPTS", true)],
                greeting,
                text("two  words; $H"),
            ]
        );
        assert!(line.has_variables());
        assert_eq!(line.program(), "/usr/bin/w");
    }

    #[test]
    fn lost_quotes_are_reported() {
        let shown = "{ path=/bin/w ; argv[]=/bin/w web1 x ; ignore_errors=no ; pid=1 }";
        let line = read("/bin/w %H x", shown);
        assert!(!line.is_exact);
        assert_eq!(line.words, [text("/bin/w"), text("web1"), text("x")]);
    }

    #[test]
    fn prefixes_are_separated() {
        let line = read("-:/bin/w ${A} \\x41\\s \\d", "");
        assert_eq!(line.prefix, "-:");
        assert_eq!(
            line.words,
            [text("/bin/w"), text("${A}"), text("A "), text("\\d")]
        );
        assert!(!line.has_variables());
        let unit = UnitName::parse("a").expect("a valid name");
        assert!(ExecLine::read("/bin/w 'open", "", &unit).is_err());
    }
}
