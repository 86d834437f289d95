//! What a user means who types a command as another tool has it, or with a typing mistake: the
//! error shows the command to type. Nothing is carried out on a guess.

use std::path::Path;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::args::Cli;
use super::exit::CliError;
use crate::app::discovery::is_toml;
use crate::app::nearby_files::{inventories_of, is_playbook, most_alike, toml_files};
use crate::config;
use crate::script::quote;

/// A command line, taken apart.
#[derive(Debug, Default)]
struct CommandWords {
    verb: String,
    /// What stands alone: an inventory, or something that is to be one.
    positional: Vec<String>,
    /// The options, each with its value.
    options: Vec<String>,
    /// Whether the verb lacks one of the options, so that nobody knows which word is its value.
    has_unknown_option: bool,
}

impl CommandWords {
    /// `args` without the program's name.
    fn of(args: &[String]) -> Self {
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

    /// The command line with another inventory, if there is one, and with further options.
    fn with(&self, inventory: Option<&str>, further: &[&str]) -> String {
        let words = [self.verb.as_str()]
            .into_iter()
            .chain(inventory)
            .chain(further.iter().copied());
        line(words.chain(self.options.iter().map(String::as_str)))
    }
}

/// Whether an option, with its hyphens, is a name of an argument.
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
    let shown = words.map(|word| {
        if is_plain(word) {
            word.to_owned()
        } else {
            quote(word)
        }
    });
    ["ship".to_owned()]
        .into_iter()
        .chain(shown)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What is wrong with a command line that was understood, but names something else where an
/// inventory is expected.
pub(super) fn check(args: &[String]) -> Result<(), CliError> {
    let words = CommandWords::of(args);
    let takes_inventory = !matches!(words.verb.as_str(), "init" | "completions" | "man" | "help");
    let [word] = &words.positional[..] else {
        return Ok(());
    };
    // `ship logs` takes instances, too.
    if !takes_inventory || words.verb == "logs" && !is_toml(Path::new(word)) {
        return Ok(());
    }
    let path = Path::new(word);
    if path.is_file() {
        return refuse_playbook(&words, path);
    }
    if path.is_dir() {
        let inside: Vec<_> = toml_files(path)
            .into_iter()
            .map(|file| words.with(Some(&shown(&file)), &[]))
            .collect();
        return Err(CliError::refused(format!(
            "error: {word} is a directory; expected an inventory\n{}",
            hint_of("name the inventory", &inside, "write one with `ship init`")
        )));
    }
    if path.exists() {
        return Ok(());
    }
    // Nobody calls a file 0.9 or 3.
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
            "error: {word} is not an inventory: there is no such file\n{hint}"
        ))),
        None => Ok(()),
    }
}

/// What was meant by a command line that clap does not take; a further line for its error.
pub(super) fn for_usage(args: &[String], kind: ErrorKind) -> Option<String> {
    let words = CommandWords::of(args);
    match kind {
        ErrorKind::InvalidSubcommand => of_other_tools(&words),
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

/// The option that a verb has for a value such as `0.9` or `3`.
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
            hint(format!("to go back to revision {value}"), "--to-revision")
        }
        "rollback" | "undo" if is_version => Some(format!(
            "hint: to go back to version {value}, find its revision with `ship history` and run \
             `{}`",
            words.with(inventory, &["--to-revision", "N"])
        )),
        "scale" => {
            let number = value.trim_start_matches("replicas=");
            let run = words.with(inventory, &["--replicas", number]);
            number
                .parse::<u32>()
                .is_ok()
                .then(|| format!("hint: for {number} instances, run `{run}`"))
        }
        "history" if number => hint(format!("to show revision {value}"), "--revision"),
        "report" if number => hint(format!("for the page of rollout {value}"), "--rollout"),
        "freeze" if value.starts_with(|c: char| c.is_ascii_digit()) => {
            hint("to name the end".to_owned(), "--until")
        }
        _ => None,
    }
}

/// Verbs that kubectl and other tools have for what ship does.
fn of_other_tools(words: &CommandWords) -> Option<String> {
    let (asked, rest) = match (words.verb.as_str(), words.positional.split_first()) {
        ("rollout", None) => {
            return Some("hint: every verb stands alone, as in `ship status`".to_owned());
        }
        ("rollout", Some((verb, rest))) => (verb.as_str(), rest),
        (verb, _) => (verb, &words.positional[..]),
    };
    let verb = match asked {
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
    // `deployment/api` names what an inventory does here.
    let rest = rest
        .iter()
        .filter(|word| is_toml(Path::new(word)))
        .map(String::as_str);
    let options = words.options.iter().map(String::as_str);
    let options = if verb == asked || asked == "undo" {
        options.collect()
    } else {
        Vec::new()
    };
    Some(format!(
        "hint: run `{}`",
        line([verb].into_iter().chain(rest).chain(options))
    ))
}

/// A file whose name is like the one that is not there.
fn typo_hint(words: &CommandWords, path: &Path) -> Option<String> {
    let meant = shown(&most_alike(path)?);
    let command = words.with(Some(&meant), &[]);
    Some(format!("hint: did you mean {meant}? Run `{command}`"))
}

fn refuse_playbook(words: &CommandWords, path: &Path) -> Result<(), CliError> {
    if !is_playbook(path) {
        return Ok(());
    }
    let commands: Vec<_> = inventories_of(path)
        .iter()
        .map(|file| words.with(Some(&shown(file)), &[]))
        .collect();
    let word = shown(path);
    let otherwise = format!(
        "write an inventory that names it: `playbook = \"{word}\"`; `ship init` writes an example"
    );
    Err(CliError::refused(format!(
        "error: {word} is a playbook; expected the inventory that names it\n{}",
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

/// A path as a user would type it: without `./` and `dir/../`.
fn shown(path: &Path) -> String {
    config::project::without_detours(path.strip_prefix(".").unwrap_or(path))
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

    fn refused(text: &str) -> Option<String> {
        let args: Vec<_> = text.split(' ').map(str::to_owned).collect();
        check(&args).err().map(|fail| fail.message)
    }

    #[test]
    fn kubectls_verbs_have_their_ships_own() {
        let meant = |text| usage(text, ErrorKind::InvalidSubcommand).unwrap_or_default();
        assert_eq!(meant("rollout status"), "hint: run `ship status`");
        assert_eq!(
            meant("rollout status deployment/api a.toml"),
            "hint: run `ship status a.toml`"
        );
        assert_eq!(
            meant("rollout undo --to-revision=3"),
            "hint: run `ship rollback --to-revision=3`"
        );
        assert_eq!(
            meant("rollout restart deployment api"),
            "hint: run `ship restart`"
        );
        assert_eq!(
            meant("rollout"),
            "hint: every verb stands alone, as in `ship status`"
        );
        assert_eq!(meant("get pods -o wide"), "hint: run `ship status`");
        assert_eq!(meant("apply -f a.toml"), "hint: run `ship deploy a.toml`");
        assert_eq!(meant("frobnicate"), "");
    }

    #[test]
    fn value_hint_is_left_out_beside_an_unknown_option() {
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
    fn a_value_in_the_inventorys_place_has_an_option_of_its_own() {
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
                "hint: to go back to revision 3, run `ship undo --to-revision 3`",
            ),
            (
                "rollback 0.8",
                "hint: to go back to version 0.8, find its revision with `ship history` and run \
                 `ship rollback --to-revision N`",
            ),
            (
                "history 3",
                "hint: to show revision 3, run `ship history --revision 3`",
            ),
            (
                "report 7",
                "hint: for the page of rollout 7, run `ship report --rollout 7`",
            ),
            (
                "freeze 3d",
                "hint: to name the end, run `ship freeze --until 3d`",
            ),
        ];
        for (text, hint) in cases {
            let word = text.split(' ').nth(1).unwrap_or_default();
            let expected =
                format!("error: {word} is not an inventory: there is no such file\n{hint}");
            assert_eq!(refused(text), Some(expected));
        }
        assert_eq!(
            refused("restart web1"),
            None,
            "the error of whoever reads the file says enough"
        );
        assert_eq!(refused("deploy nothing/like-it.toml"), None);
        assert_eq!(refused("deploy --version 0.9"), None);
        assert_eq!(refused("logs web1"), None);
    }

    #[test]
    fn a_value_besides_the_inventory_is_understood_too() {
        let meant = |text, kind| usage(text, kind).unwrap_or_default();
        assert_eq!(
            meant("deploy a.toml 0.9", ErrorKind::UnknownArgument),
            "hint: to deploy version 0.9, run `ship deploy a.toml --version 0.9`"
        );
        assert_eq!(
            meant("scale 5", ErrorKind::MissingRequiredArgument),
            "hint: for 5 instances, run `ship scale --replicas 5`"
        );
        assert_eq!(
            meant(
                "scale a.toml replicas=5 --set rollout.max_surge=2",
                ErrorKind::MissingRequiredArgument
            ),
            "hint: for 5 instances, run `ship scale a.toml --replicas 5 --set rollout.max_surge=2`"
        );
        assert_eq!(meant("scale api", ErrorKind::MissingRequiredArgument), "");
    }
}
