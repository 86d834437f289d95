//! Hints for commands of other tools and for typing mistakes: the error shows the command to type.
//! ship never runs a guessed command.

use std::path::Path;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::args::Cli;
use super::exit::CliError;
use crate::app::discovery::is_toml;
use crate::app::nearby_files::{inventories_of, is_playbook, most_similar, toml_files};
use crate::config;
use crate::script::quote;

/// A command line, split into its parts.
#[derive(Debug, Default)]
struct CommandWords {
    verb: String,
    /// Positional arguments: an inventory, or something typed in its place.
    positional: Vec<String>,
    /// The options, each with its value.
    options: Vec<String>,
    /// Whether an option is unknown to the verb. Then its value cannot be recognized.
    has_unknown_option: bool,
}

impl CommandWords {
    /// Parses `args`, which do not include the name of the program.
    fn parse(args: &[String]) -> Self {
        let mut words = Self::default();
        let Some((verb, rest)) = args.split_first() else {
            return words;
        };
        words.verb.clone_from(verb);
        let cli = Cli::command();
        let command = cli.find_subcommand(verb);
        let known: Vec<_> = command
            .into_iter()
            .chain([&cli])
            .flat_map(clap::Command::get_arguments)
            .collect();
        let argument = |option: &str| known.iter().find(|arg| is_named(arg, option));
        let mut rest = rest.iter().peekable();
        while let Some(word) = rest.next() {
            if !word.starts_with('-') || word == "-" {
                words.positional.push(word.clone());
                continue;
            }
            words.options.push(word.clone());
            let (option, value) = word.split_once('=').unzip();
            let argument = argument(option.unwrap_or(word));
            words.has_unknown_option |= word.starts_with("--") && argument.is_none();
            if value.is_none() && argument.is_some_and(|arg| arg.get_action().takes_values()) {
                words.options.extend(rest.next().cloned());
            }
        }
        words
    }

    /// The command line with this inventory and with additional options.
    fn with(&self, inventory: Option<&str>, additional: &[&str]) -> String {
        let words = [self.verb.as_str()]
            .into_iter()
            .chain(inventory)
            .chain(additional.iter().copied());
        line(words.chain(self.options.iter().map(String::as_str)))
    }
}

/// Whether an option, including its hyphens, is a name of the argument.
fn is_named(arg: &clap::Arg, option: &str) -> bool {
    let aliases = arg.get_all_aliases().unwrap_or_default();
    let long = arg.get_long().into_iter().chain(aliases);
    let short = arg.get_short().map(|short| format!("-{short}"));
    long.map(|long| format!("--{long}"))
        .chain(short)
        .any(|name| name == option)
}

/// A command as a user types it: `ship deploy --version 0.9`.
fn line<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let is_plain = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_alphanumeric() || "/._-+:@,=%~".contains(c))
    };
    let quoted = words.map(|word| {
        if is_plain(word) {
            word.to_owned()
        } else {
            quote(word)
        }
    });
    ["ship".to_owned()]
        .into_iter()
        .chain(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Checks a command line that clap accepts: something else may stand in place of the inventory.
pub(super) fn check(args: &[String]) -> Result<(), CliError> {
    let words = CommandWords::parse(args);
    let takes_inventory = !matches!(
        words.verb.as_str(),
        "init" | "adopt" | "completions" | "man" | "help"
    );
    let [word] = &words.positional[..] else {
        return Ok(());
    };
    // `ship logs` takes instances, too.
    if !takes_inventory || words.verb == "logs" && !is_toml(Path::new(word)) {
        return Ok(());
    }
    let path = Path::new(word);
    if path.is_file() {
        return check_playbook(&words, path);
    }
    if path.is_dir() {
        let inside: Vec<_> = toml_files(path)
            .into_iter()
            .map(|file| words.with(Some(&display_path(&file)), &[]))
            .collect();
        return Err(CliError::refused(format!(
            "error: `{word}` is a directory; expected an inventory\n{}",
            hint_of("name the inventory", &inside, "write one with `ship init`")
        )));
    }
    if path.exists() {
        return Ok(());
    }
    // A file is rarely named 0.9 or 3.
    let is_value = word.starts_with(|c: char| c.is_ascii_digit());
    let value = || {
        if is_toml(path) || word.contains('/') {
            None
        } else {
            value_hint(&words, word, None)
        }
    };
    let hint = if is_value { value() } else { None };
    let hint = hint.or_else(|| typo_hint(&words, path)).or_else(value);
    match hint {
        Some(hint) => Err(CliError::refused(format!(
            "error: `{word}` is not an inventory: no such file\n{hint}"
        ))),
        None => Ok(()),
    }
}

/// The hint for a command line that clap rejects.
pub(super) fn for_usage(args: &[String], kind: ErrorKind) -> Option<String> {
    let words = CommandWords::parse(args);
    match kind {
        ErrorKind::InvalidSubcommand => other_tool_hint(&words),
        _ if words.has_unknown_option => None,
        ErrorKind::UnknownArgument
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::TooManyValues => {
            let is_inventory =
                |word: &&String| is_toml(Path::new(word)) || Path::new(word).is_file();
            let (inventories, values): (Vec<_>, Vec<_>) =
                words.positional.iter().partition(is_inventory);
            let inventory = match &inventories[..] {
                [] => None,
                [one] => Some(one.as_str()),
                _ => return None,
            };
            if let [value] = values[..] {
                value_hint(&words, value, inventory)
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Suggests the option that takes a value such as `0.9` or `3`.
fn value_hint(words: &CommandWords, value: &str, inventory: Option<&str>) -> Option<String> {
    let number = value.parse::<u32>().is_ok();
    let is_version = config::check_version(value).is_ok();
    let with = |option: &str| words.with(inventory, &[option, value]);
    let hint =
        |purpose: String, option: &str| Some(format!("hint: {purpose}, run `{}`", with(option)));
    match words.verb.as_str() {
        "deploy" if is_version => hint(format!("to deploy version {value}"), "--version"),
        "plan" | "check" | "cron" if is_version => {
            hint(format!("for version {value}"), "--version")
        }
        "rollback" | "undo" if number => {
            hint(format!("to roll back to revision {value}"), "--to-revision")
        }
        "rollback" | "undo" if is_version => Some(format!(
            "hint: to roll back to version {value}, find its revision with `ship history` and run \
             `{}`",
            words.with(inventory, &["--to-revision", "N"])
        )),
        "scale" => {
            let number = value.trim_start_matches("replicas=");
            let run = words.with(inventory, &["--replicas", number]);
            number
                .parse::<u32>()
                .is_ok()
                .then(|| format!("hint: to run {number} instances, run `{run}`"))
        }
        "history" if number => hint(format!("to show revision {value}"), "--revision"),
        "report" if number => hint(format!("for the report of rollout {value}"), "--rollout"),
        "freeze" if value.starts_with(|c: char| c.is_ascii_digit()) => {
            hint("to set the end of the freeze".to_owned(), "--until")
        }
        _ => None,
    }
}

/// Translates verbs of kubectl and other tools.
fn other_tool_hint(words: &CommandWords) -> Option<String> {
    let (typed, rest) = match (words.verb.as_str(), words.positional.split_first()) {
        ("rollout", None) => {
            return Some("hint: leave out `rollout`, as in `ship status`".to_owned());
        }
        ("rollout", Some((verb, rest))) => (verb.as_str(), rest),
        (verb, _) => (verb, &words.positional[..]),
    };
    let verb = match typed {
        "status" | "get" | "describe" | "ps" | "ls" | "list" | "top" | "show" => "status",
        "undo" | "rollback" | "revert" | "back" => "rollback",
        "history" => "history",
        "pause" => "pause",
        "resume" | "continue" => "resume",
        "restart" => "restart",
        "apply" | "up" | "push" | "release" | "rollout" | "upgrade" => "deploy",
        "diff" => "plan",
        "validate" | "lint" | "verify" => "check",
        _ => return None,
    };
    // kubectl's `deployment/api` has no equivalent: the inventory names the service.
    let rest = rest
        .iter()
        .filter(|word| is_toml(Path::new(word)))
        .map(String::as_str);
    let options = words.options.iter().map(String::as_str);
    let options = if verb == typed || typed == "undo" {
        options.collect()
    } else {
        Vec::new()
    };
    Some(format!(
        "hint: run `{}`",
        line([verb].into_iter().chain(rest).chain(options))
    ))
}

/// Suggests an existing file with a similar name.
fn typo_hint(words: &CommandWords, path: &Path) -> Option<String> {
    let similar = display_path(&most_similar(path)?);
    let command = words.with(Some(&similar), &[]);
    Some(format!("hint: did you mean `{similar}`? Run `{command}`"))
}

fn check_playbook(words: &CommandWords, path: &Path) -> Result<(), CliError> {
    if !is_playbook(path) {
        return Ok(());
    }
    let commands: Vec<_> = inventories_of(path)
        .iter()
        .map(|file| words.with(Some(&display_path(file)), &[]))
        .collect();
    let word = display_path(path);
    let otherwise =
        format!("write an inventory with `playbook = \"{word}\"`; `ship init` writes an example");
    Err(CliError::refused(format!(
        "error: `{word}` is a playbook; expected the inventory that refers to it\n{}",
        hint_of("name the inventory", &commands, &otherwise)
    )))
}

fn hint_of(what: &str, commands: &[String], otherwise: &str) -> String {
    match commands {
        [] => format!("hint: {otherwise}"),
        [one] => format!("hint: run `{one}`"),
        several => format!("hint: {what}:\n  {}", several.join("\n  ")),
    }
}

/// The path as a user would type it, without `./` and `dir/../`.
fn display_path(path: &Path) -> String {
    config::project::simplify_path(path.strip_prefix(".").unwrap_or(path))
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(text: &str, kind: ErrorKind) -> Option<String> {
        let args: Vec<_> = text.split(' ').map(str::to_owned).collect();
        for_usage(&args, kind)
    }

    fn rejected(text: &str) -> Option<String> {
        let args: Vec<_> = text.split(' ').map(str::to_owned).collect();
        check(&args).err().map(|fail| fail.message)
    }

    #[test]
    fn hint_translates_the_verbs_of_kubectl() {
        let hint = |text| usage(text, ErrorKind::InvalidSubcommand).unwrap_or_default();
        assert_eq!(hint("rollout status"), "hint: run `ship status`");
        assert_eq!(
            hint("rollout status deployment/api a.toml"),
            "hint: run `ship status a.toml`"
        );
        assert_eq!(
            hint("rollout undo --to-revision=3"),
            "hint: run `ship rollback --to-revision=3`"
        );
        assert_eq!(
            hint("rollout restart deployment api"),
            "hint: run `ship restart`"
        );
        assert_eq!(
            hint("rollout"),
            "hint: leave out `rollout`, as in `ship status`"
        );
        assert_eq!(hint("get pods -o wide"), "hint: run `ship status`");
        assert_eq!(hint("apply -f a.toml"), "hint: run `ship deploy a.toml`");
        assert_eq!(hint("frobnicate"), "");
    }

    #[test]
    fn hint_is_omitted_for_an_unknown_option() {
        for text in [
            "deploy --verison 0.9",
            "check --output json",
            "undo --to-version=2 0.9",
        ] {
            assert_eq!(usage(text, ErrorKind::UnknownArgument), None, "{text}");
        }
        let hint = usage("history -v --output=json 3", ErrorKind::UnknownArgument);
        let expected = "hint: to show revision 3, run `ship history --revision 3 -v --output=json`";
        assert_eq!(hint.as_deref(), Some(expected));
    }

    #[test]
    fn hint_names_the_option_for_a_value_in_place_of_the_inventory() {
        let cases = [
            (
                "deploy 0.9",
                "hint: to deploy version 0.9, run `ship deploy --version 0.9`",
            ),
            (
                "deploy v1.2.3 --dry-run",
                "hint: to deploy version v1.2.3, run `ship deploy --version v1.2.3 --dry-run`",
            ),
            (
                "plan 0.9",
                "hint: for version 0.9, run `ship plan --version 0.9`",
            ),
            (
                "undo 3",
                "hint: to roll back to revision 3, run `ship undo --to-revision 3`",
            ),
            (
                "rollback 0.8",
                "hint: to roll back to version 0.8, find its revision with `ship history` and run \
                 `ship rollback --to-revision N`",
            ),
            (
                "history 3",
                "hint: to show revision 3, run `ship history --revision 3`",
            ),
            (
                "report 7",
                "hint: for the report of rollout 7, run `ship report --rollout 7`",
            ),
            (
                "freeze 3d",
                "hint: to set the end of the freeze, run `ship freeze --until 3d`",
            ),
        ];
        for (text, hint) in cases {
            let word = text.split(' ').nth(1).unwrap_or_default();
            let expected = format!("error: `{word}` is not an inventory: no such file\n{hint}");
            assert_eq!(rejected(text), Some(expected));
        }
        assert_eq!(
            rejected("restart web1"),
            None,
            "the error of reading the file is clear enough"
        );
        assert_eq!(rejected("deploy nothing/like-it.toml"), None);
        assert_eq!(rejected("deploy --version 0.9"), None);
        assert_eq!(rejected("logs web1"), None);
    }

    #[test]
    fn hint_names_the_option_for_a_value_after_the_inventory() {
        let hint = |text, kind| usage(text, kind).unwrap_or_default();
        assert_eq!(
            hint("deploy a.toml 0.9", ErrorKind::UnknownArgument),
            "hint: to deploy version 0.9, run `ship deploy a.toml --version 0.9`"
        );
        assert_eq!(
            hint("scale 5", ErrorKind::MissingRequiredArgument),
            "hint: to run 5 instances, run `ship scale --replicas 5`"
        );
        assert_eq!(
            hint(
                "scale a.toml replicas=5 --set rollout.max_surge=2",
                ErrorKind::MissingRequiredArgument
            ),
            "hint: to run 5 instances, run `ship scale a.toml --replicas 5 --set rollout.max_surge=2`"
        );
        assert_eq!(hint("scale api", ErrorKind::MissingRequiredArgument), "");
    }
}
