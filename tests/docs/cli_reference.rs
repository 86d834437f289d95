//! `docs/reference/cli.md`, from the definition of the command line.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory as _};
use ship::cli::args::Cli;

use crate::generated::escaped;

const INTRODUCTION: &str = "\
# Command line

This page lists every verb with its arguments and options, as `ship VERB --help` prints them. `-h` prints a summary, and
`ship man` the manual page. [States and verbs](states.md) lists what each verb does in each state, and
[Exit codes](exit-codes.md) how each can end.

Data goes to standard output, progress and messages to standard error.

";

pub(crate) fn page() -> String {
    let mut ship = Cli::command();
    ship.build();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| verb | what it does |\n|---|---|\n");
    for verb in verbs(&ship) {
        let name = verb.get_name();
        let about = text(verb.get_about());
        writeln!(page, "| [`ship {name}`](#ship-{name}) | {about} |").expect("memory");
    }
    page.push_str("\n## Options of every verb\n\n");
    page.push_str(&table(
        "option",
        ship.get_arguments().filter(|it| !it.is_hide_set()),
    ));
    for verb in verbs(&ship) {
        page.push_str(&section("##", verb));
        for verb in verbs(verb) {
            page.push_str(&section("###", verb));
        }
    }
    page
}

fn verbs(ship: &Command) -> impl Iterator<Item = &Command> {
    ship.get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

fn section(level: &str, verb: &Command) -> String {
    let name = verb.get_bin_name().unwrap_or(verb.get_name());
    let about = text(verb.get_long_about().or(verb.get_about()));
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let mut section = format!("\n{level} {name}\n\n{about}.\n\n```text\n{usage}\n```\n");
    let aliases: Vec<_> = verb
        .get_visible_aliases()
        .map(|alias| format!("`ship {alias}`"))
        .collect();
    if !aliases.is_empty() {
        write!(section, "\nAlias: {}.\n", aliases.join(", ")).expect("memory");
    }
    let own = || verb.get_arguments().filter(|argument| !is_common(argument));
    let (arguments, options): (Vec<_>, Vec<_>) = own().partition(|it| it.is_positional());
    for (title, arguments) in [("argument", arguments), ("option", options)] {
        if !arguments.is_empty() {
            write!(section, "\n{}", table(title, arguments.into_iter())).expect("memory");
        }
    }
    if let Some(after) = verb.get_after_long_help().or(verb.get_after_help()) {
        section.push_str(&after_help(&after.to_string()));
    }
    section
}

/// Whether the argument is hidden, or is one of those that every verb has.
fn is_common(argument: &Arg) -> bool {
    let name = argument.get_id().as_str();
    argument.is_hide_set() || ["help", "version-flag", "verbose"].contains(&name)
}

fn table<'a>(title: &str, arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut table = format!("| {title} | meaning |\n|---|---|\n");
    for argument in arguments {
        writeln!(table, "| {} | {} |", name(argument), meaning(argument)).expect("memory");
    }
    table
}

/// The argument as one types it, such as `-o`, `--output <OUTPUT>`.
fn name(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let values: Vec<_> = values.iter().map(|value| format!("<{value}>")).collect();
    let value = if argument.get_action().takes_values() {
        values.join(" ").replace('|', r"\|")
    } else {
        String::new()
    };
    if argument.is_positional() {
        return if argument.is_required_set() {
            format!("`{value}`")
        } else {
            format!("`[{}]`", value.trim_matches(['<', '>']))
        };
    }
    let short = argument.get_short().map(|short| format!("`-{short}`"));
    let long = argument
        .get_long()
        .map(|long| format!("`{}`", format!("--{long} {value}").trim()));
    let names: Vec<_> = short.into_iter().chain(long).collect();
    names.join(", ")
}

/// The help of an argument, with its values and its default.
fn meaning(argument: &Arg) -> String {
    let mut meaning = text(argument.get_long_help().or(argument.get_help()));
    if argument.get_action().takes_values() {
        let values = argument.get_possible_values();
        let shown: Vec<_> = values
            .iter()
            .filter(|value| !value.is_hide_set() && !argument.is_hide_possible_values_set())
            .map(|value| match value.get_help() {
                Some(help) => format!("`{}` ({})", value.get_name(), text(Some(help))),
                None => format!("`{}`", value.get_name()),
            })
            .collect();
        if !shown.is_empty() {
            write!(meaning, ". Values: {}", shown.join(", ")).expect("memory");
        }
        let defaults = argument.get_default_values();
        if let Some(default) = defaults
            .first()
            .filter(|_| !argument.is_hide_default_value_set())
        {
            let default = default.to_string_lossy();
            write!(meaning, ". Default: `{default}`").expect("memory");
        }
    }
    meaning
}

/// The help that follows the options: examples are a block that can be copied.
fn after_help(text: &str) -> String {
    let mut lines = text.trim().lines();
    let Some(title) = lines.next() else {
        return String::new();
    };
    let rest: Vec<_> = lines.map(str::trim_end).collect();
    let columns = rest
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or_default();
    let lines: Vec<_> = rest
        .iter()
        .map(|line| line.get(columns..).unwrap_or_default())
        .collect();
    let is_examples = title.starts_with("Example");
    let kind = if is_examples { "sh" } else { "text" };
    format!(
        "\n{}\n\n```{kind}\n{}\n```\n",
        escaped(title),
        lines.join("\n")
    )
}

fn text(styled: Option<&StyledStr>) -> String {
    escaped(&styled.map(ToString::to_string).unwrap_or_default())
}

#[test]
fn examples_become_a_block_that_can_be_copied() {
    let text = "Examples:\n  ship deploy\n  ship deploy --dry-run\n";
    let expected = "\nExamples:\n\n```sh\nship deploy\nship deploy --dry-run\n```\n";
    assert_eq!(after_help(text), expected);
    assert_eq!(after_help(""), "");
}
