//! The `ship` commands of the documentation are accepted by ship's command line.

use clap::{CommandFactory as _, Parser as _};
use ship::cli::args::Cli;

use crate::markdown::{Block, Page, all, assert_none};

/// A command of a page: its words without `ship`, and where it stands.
pub(crate) struct ShipCommand {
    pub(crate) line: usize,
    pub(crate) words: Vec<String>,
}

/// The `ship` commands of a block. In a console block, commands follow a `$`.
pub(crate) fn ship_commands(block: &Block) -> Result<Vec<ShipCommand>, String> {
    let is_console = match block.info.as_str() {
        "console" => true,
        "sh" | "yaml" => false,
        _ => return Ok(Vec::new()),
    };
    let script = match block.info.as_str() {
        "yaml" => job_script(&block.text),
        _ => block.text.clone(),
    };
    let mut found = Vec::new();
    let mut command = String::new();
    for (number, text) in script.lines().enumerate() {
        let line = block.line + 1 + number;
        let text = match text.strip_prefix("$ ") {
            Some(text) if is_console => text,
            _ if is_console && command.is_empty() => continue,
            _ => text,
        };
        command.push_str(text.trim_end_matches('\\'));
        if text.ends_with('\\') {
            continue;
        }
        let words = shlex::split(&command)
            .ok_or_else(|| format!("line {line}: `{command}` has an open quote"))?;
        command.clear();
        found.extend(simple_commands(&words).into_iter().filter_map(|words| {
            let words = of_ship(words)?;
            Some(ShipCommand { line, words })
        }));
    }
    Ok(found)
}

/// The commands of a CI job, one on each line. A folded text (`>-`) is one command, on the line on
/// which it begins. The other lines are empty.
fn job_script(yaml: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut script: Vec<String> = Vec::new();
    // The number of the line on which a folded text begins, and the indentation of its key.
    let mut folded: Option<(usize, usize)> = None;
    for line in yaml.lines() {
        let text = line.trim().trim_start_matches("- ");
        let text = text.strip_prefix("run: ").unwrap_or(text);
        folded = folded.filter(|(_, outer)| indent(line) > *outer);
        if let Some((start, _)) = folded {
            script[start].push_str(text);
            script[start].push(' ');
        } else if text == ">-" {
            folded = Some((script.len(), indent(line)));
        }
        let is_command = text.starts_with("ship ") || text.starts_with("exec ship ");
        script.push(match folded {
            None if is_command => text.to_owned(),
            _ => String::new(),
        });
    }
    script.join("\n")
}

/// The commands of a line, without redirections.
fn simple_commands(words: &[String]) -> Vec<&[String]> {
    let is_end = |word: &String| {
        ["|", "||", "&&", ";", "&", "then", "do", "!", "if"].contains(&word.as_str())
            || word.starts_with('>')
            || word.starts_with("2>")
    };
    words
        .split(is_end)
        .filter(|words| !words.is_empty())
        .collect()
}

/// The arguments of `ship`, however it is called; `None` for another program.
fn of_ship(words: &[String]) -> Option<Vec<String>> {
    let is_variable = |word: &&String| {
        let (name, _) = word.split_once('=').unwrap_or(("-", ""));
        name.chars()
            .all(|letter| letter.is_ascii_uppercase() || letter == '_')
    };
    let skipped = words.iter().take_while(is_variable).count();
    let words = &words[skipped..];
    let (program, rest) = words.split_first()?;
    let end = |word: &String| word.ends_with(';');
    let rest = &rest[..rest.iter().position(end).map_or(rest.len(), |at| at + 1)];
    let rest: Vec<_> = rest
        .iter()
        .map(|word| word.trim_end_matches(';').to_owned())
        .collect();
    match program.as_str() {
        "ship" => Some(rest),
        "sudo" | "exec" => of_ship(&rest),
        "cargo" if rest.first().is_some_and(|it| it == "run") => {
            let at = rest.iter().position(|word| word == "--")?;
            Some(rest[at + 1..].to_vec())
        }
        _ => None,
    }
}

#[test]
fn commands_are_accepted_by_the_command_line() {
    let mut problems = Vec::new();
    for page in all() {
        for block in page.blocks() {
            match ship_commands(&block) {
                Ok(commands) => problems.extend(commands.iter().filter_map(|command| {
                    let why = rejection(&command.words)?;
                    Some(format!("{}:{}: {why}", page.path, command.line))
                })),
                Err(why) => problems.push(format!("{}:{why}", page.path)),
            }
        }
    }
    assert_none(&problems);
}

/// What clap prints about a command.
fn rejection(words: &[String]) -> Option<String> {
    let words = ["ship"].into_iter().chain(words.iter().map(String::as_str));
    match Cli::try_parse_from(words) {
        Err(error) if error.use_stderr() => Some(error.to_string()),
        _ => None,
    }
}

/// A code span is often a form, such as `ship rollback --to-revision N`: its verb and its options
/// are compared with those of ship.
#[test]
fn commands_in_sentences_have_known_verbs_and_options() {
    let mut ship = Cli::command();
    ship.build();
    let mut problems = Vec::new();
    for page in all() {
        // The changelog names what was removed.
        if page.path == "CHANGELOG.md" {
            continue;
        }
        for span in page.code_spans() {
            if let Some(why) = unknown_word(&ship, &span.text) {
                problems.push(format!(
                    "{}:{}: `{}`: {why}",
                    page.path, span.line, span.text
                ));
            }
        }
    }
    assert_none(&problems);
}

fn unknown_word(ship: &clap::Command, span: &str) -> Option<String> {
    let words = shlex::split(span)?;
    let words = of_ship(&words)?;
    let first = words.first()?;
    let is_form = first.chars().all(|letter| !letter.is_ascii_lowercase());
    let verb = match ship.find_subcommand(first) {
        _ if first.starts_with('-') => ship,
        Some(verb) => verb,
        None if is_form => ship,
        None => return Some(format!("`{first}` is not a verb")),
    };
    let is_known = |option: &str| {
        let long = option.split('=').next().unwrap_or_default();
        verb.get_arguments()
            .chain(
                ship.get_subcommands()
                    .flat_map(clap::Command::get_arguments)
                    .filter(|_| is_form),
            )
            .any(|argument| {
                argument.get_long().is_some_and(|it| it == long)
                    || argument
                        .get_all_aliases()
                        .is_some_and(|all| all.contains(&long))
            })
    };
    let mut options = words.iter().filter_map(|word| word.strip_prefix("--"));
    options
        .find(|option| !option.is_empty() && !is_known(option))
        .map(|option| format!("`--{option}` is not an option of `{first}`"))
}

#[test]
fn wrong_commands_are_found() {
    let block = |info: &str, text: &str| {
        let (info, text) = (info.to_owned(), text.to_owned());
        let commands = ship_commands(&Block {
            line: 1,
            info,
            text,
        })
        .expect("closed quotes");
        commands
            .into_iter()
            .map(|command| command.words.join(" "))
            .collect::<Vec<_>>()
    };
    let text = "$ ship status\nship is not a command here\n$ cat x | ship logs -f > y\n";
    assert_eq!(block("console", text), ["status", "logs -f"]);
    let text = "A=b sudo ship check \\\n  x.toml  # why\ncargo run -- plan; echo\ncargo build\n";
    assert_eq!(block("sh", text), ["check x.toml", "plan"]);
    assert_eq!(block("text", "ship nonsense\n"), [""; 0]);
    let text =
        "script:\n  - ship plan x.toml > y\n  - >-\n    exec ship deploy\n    --force\n  - cat y\n";
    assert_eq!(block("yaml", text), ["plan x.toml", "deploy --force"]);

    let words = |text: &str| shlex::split(text).expect("closed quotes");
    assert_eq!(rejection(&words("status --watch")), None);
    assert!(rejection(&words("status --wach")).is_some());
    let mut ship = Cli::command();
    ship.build();
    assert_eq!(unknown_word(&ship, "ship rollback --to-revision N"), None);
    assert!(unknown_word(&ship, "ship rollback --to N").is_some());
    assert!(unknown_word(&ship, "ship contract").is_some());
    let page = Page {
        path: String::new(),
        text: "a `ship\nstatus` b\n\n| `ship plan` |\n".to_owned(),
    };
    let spans: Vec<_> = page
        .code_spans()
        .into_iter()
        .map(|it| (it.line, it.text))
        .collect();
    assert_eq!(
        spans,
        [(1, "ship status".to_owned()), (4, "ship plan".to_owned())]
    );
}
