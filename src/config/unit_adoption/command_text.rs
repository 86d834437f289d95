//! The command of a playbook, as text for TOML, made from the words of a unit.

use super::exec_line::{UnitWord, WordPart};
use super::origin::ArtifactOrigin;
use super::unit_ports::{PortPiece, UnitPorts};
use super::unit_secret::{has_password, is_file_name, secret_option};

/// Makes commands for a playbook.
pub(super) struct CommandWriter<'a> {
    pub(super) ports: &'a UnitPorts,
    pub(super) origin: &'a ArtifactOrigin,
    /// Python environments, which stay where they are.
    pub(super) python: &'a [String],
}

/// A command of a playbook.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WrittenCommand {
    pub(super) text: String,
    /// The variables that stand for secrets of the command line.
    pub(super) secrets: Vec<String>,
    /// Whether a word is a path of the artifact.
    pub(super) names_artifact: bool,
    /// Whether a shell starts the program.
    pub(super) needs_shell: bool,
}

impl CommandWriter<'_> {
    /// Writes a command. With `directory`, a shell enters it first; a shell also replaces variables,
    /// because ship does not.
    pub(super) fn write(&self, words: &[UnitWord], directory: Option<&str>) -> WrittenCommand {
        let mut written = WrittenCommand::default();
        let words: Vec<_> = without_secrets(words, &mut written.secrets)
            .into_iter()
            .map(|word| self.relative(word, &mut written.names_artifact))
            .collect();
        let is_variable = |part: &WordPart| matches!(part, WordPart::Variable { .. });
        let has_variables = words.iter().flatten().any(is_variable);
        written.needs_shell = has_variables || directory.is_some();
        written.text = if written.needs_shell {
            self.shell_command(&words, directory, has_variables)
        } else {
            let words = words.iter().map(|word| self.plain_word(word));
            words.collect::<Vec<_>>().join(" ")
        };
        written
    }

    /// Writes a command in which systemd itself replaces `$MAINPID`.
    pub(super) fn write_reload(&self, words: &[UnitWord]) -> String {
        let words = words.iter().map(|word| self.plain_word(word));
        words.collect::<Vec<_>>().join(" ")
    }

    /// A text as a template, with ports.
    pub(super) fn template(&self, text: &str) -> String {
        self.escape(text, str::to_owned)
    }

    fn relative(&self, word: UnitWord, names_artifact: &mut bool) -> UnitWord {
        let [WordPart::Text(text)] = &word[..] else {
            return word;
        };
        match self.origin.relative(text, self.python) {
            Some(relative) => {
                *names_artifact = true;
                vec![WordPart::Text(relative)]
            }
            None => word,
        }
    }

    /// `/bin/sh -c 'set -f; exec …'`. Like systemd, the shell must not replace `*`.
    fn shell_command(
        &self,
        words: &[UnitWord],
        directory: Option<&str>,
        has_variables: bool,
    ) -> String {
        let quoted = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            let text = text.replace('$', "\\$").replace('`', "\\`");
            // The whole script stands in single quotes.
            text.replace('\'', "'\\''")
        };
        let word = |word: &UnitWord| match &word[..] {
            [
                WordPart::Variable {
                    name,
                    is_split: true,
                },
            ] => format!("${name}"),
            [WordPart::Text(text)] if is_plain(text) => self.template(text),
            parts => {
                let parts = parts.iter().map(|part| match part {
                    WordPart::Text(text) => self.escape(text, quoted),
                    WordPart::Variable { name, .. } => format!("${{{name}}}"),
                });
                format!("\"{}\"", parts.collect::<String>())
            }
        };
        let enter = directory.map(|dir| {
            let dir = word(&vec![WordPart::Text(dir.to_owned())]);
            format!("cd {dir} && ")
        });
        let words: Vec<_> = words.iter().map(word).collect();
        let no_globs = if has_variables { "set -f; " } else { "" };
        format!(
            "/bin/sh -c '{no_globs}{}exec {}'",
            enter.unwrap_or_default(),
            words.join(" ")
        )
    }

    /// A word for a command that no shell reads: only quotes and blanks have a meaning.
    fn plain_word(&self, word: &UnitWord) -> String {
        let text: String = word
            .iter()
            .map(|part| match part {
                WordPart::Text(text) => text.clone(),
                WordPart::Variable {
                    name,
                    is_split: true,
                } => format!("${name}"),
                WordPart::Variable { name, .. } => format!("${{{name}}}"),
            })
            .collect();
        if is_plain(&text) || text == "$MAINPID" {
            return self.template(&text);
        }
        let quoted = |text: &str| text.replace('\'', "'\\''");
        format!("'{}'", self.escape(&text, quoted))
    }

    /// Replaces ports by their templates, escapes what a template would interpret, and quotes the
    /// rest.
    fn escape(&self, text: &str, quote: impl Fn(&str) -> String) -> String {
        let pieces = self.ports.split(text).into_iter();
        let pieces = pieces.map(|piece| match piece {
            PortPiece::Port(port) => self.ports.template(port),
            PortPiece::Text(text) => escape_template(text, &quote),
        });
        pieces.collect()
    }
}

/// Escapes the beginnings of templates.
pub(super) fn escape_template(text: &str, quote: impl Fn(&str) -> String) -> String {
    let mut escaped = String::new();
    let mut rest = text;
    loop {
        let begin = |mark: &&str| rest.find(*mark).map(|at| (at, (*mark).to_owned()));
        let Some((at, mark)) = ["{{", "{%", "{#"].iter().filter_map(begin).min() else {
            escaped.push_str(&quote(rest));
            return escaped;
        };
        escaped.push_str(&quote(rest.get(..at).unwrap_or_default()));
        escaped.extend(["{{ \"", &mark, "\" }}"]);
        rest = rest.get(at + mark.len()..).unwrap_or_default();
    }
}

/// Replaces secrets on the command line by variables, whose names are added to `secrets`.
fn without_secrets(words: &[UnitWord], secrets: &mut Vec<String>) -> Vec<UnitWord> {
    let mut cleaned: Vec<UnitWord> = Vec::new();
    // The variable for the next word.
    let mut pending: Option<String> = None;
    for word in words {
        let after_option = pending.take();
        let [WordPart::Text(text)] = &word[..] else {
            cleaned.push(word.clone());
            continue;
        };
        let mut variable = |name: String| {
            if !secrets.contains(&name) {
                secrets.push(name.clone());
            }
            let is_split = false;
            WordPart::Variable { name, is_split }
        };
        let assigned = text.split_once('=').and_then(|(option, value)| {
            let name = secret_option(option).filter(|_| !is_file_name(value))?;
            Some((option, name))
        });
        cleaned.push(match (after_option, assigned) {
            (Some(name), _) if !text.starts_with('-') && !is_file_name(text) => {
                vec![variable(name)]
            }
            (_, Some((option, name))) => {
                vec![WordPart::Text(format!("{option}=")), variable(name)]
            }
            _ if has_password(text) => vec![variable("COMMAND_URL".to_owned())],
            _ => {
                pending = secret_option(text);
                word.clone()
            }
        });
    }
    cleaned
}

/// Whether a word needs no quotes.
fn is_plain(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=%".contains(c);
    !text.is_empty() && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::unit_adoption::exec_line::ExecLine;
    use crate::config::unit_adoption::unit_name::UnitName;
    use crate::core::existing_unit::{ExistingUnit, UnitListener};

    fn written(command: &str, directory: Option<&str>) -> WrittenCommand {
        let unit = UnitName::parse("a").expect("a valid name");
        let line = ExecLine::read(command, "", &unit).expect("a command");
        let listener = UnitListener {
            port: 8000,
            is_loopback: false,
            is_own: true,
        };
        let found = ExistingUnit {
            listeners: vec![listener],
            ..ExistingUnit::default()
        };
        let writer = CommandWriter {
            ports: &UnitPorts::find(&found, &[]),
            origin: &ArtifactOrigin::Service("/srv/a".into()),
            python: &[],
        };
        writer.write(&line.words, directory)
    }

    #[test]
    fn command_has_templates_and_relative_paths() {
        let command = written(
            "/srv/a/run --bind 0.0.0.0:8000 -c=/srv/a/c.toml 'it''s $$1' {{x}}",
            None,
        );
        assert_eq!(
            command.text,
            r#"./run --bind 0.0.0.0:{{ port }} -c=c.toml 'its $1' '{{ "{{" }}x}}'"#
        );
        assert!(command.names_artifact && !command.needs_shell);
    }

    #[test]
    fn shell_replaces_variables_and_enters_a_directory() {
        assert_eq!(
            written(r#"/bin/a $OPTS "--x=${X} \"y\"" "it's""#, None).text,
            r#"/bin/sh -c 'set -f; exec /bin/a $OPTS "--x=${X} \"y\"" "it'\''s"'"#
        );
        assert_eq!(
            written("/bin/a", Some("/var/lib/my data")).text,
            "/bin/sh -c 'cd \"/var/lib/my data\" && exec /bin/a'"
        );
    }

    #[test]
    fn secrets_of_the_command_line_become_variables() {
        let command = written(
            "/bin/a --requirepass hunter2 --token=abc --key /etc/key postgres://a:b@c/d --secret",
            None,
        );
        assert_eq!(
            command.text,
            "/bin/sh -c 'set -f; exec /bin/a --requirepass \"${REQUIREPASS}\" \
             \"--token=${TOKEN}\" --key /etc/key \"${COMMAND_URL}\" --secret'"
        );
        assert_eq!(command.secrets, ["REQUIREPASS", "TOKEN", "COMMAND_URL"]);
    }
}
