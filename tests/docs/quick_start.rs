//! The commands of the quick start run on hosts that are all this machine, one after the other.

use std::fs;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use ship_testing::command::ship;
use ship_testing::namespace::{run, write};
use ship_testing::project_dir::ProjectDir;

use crate::command_lines::{ShipCommand, ship_commands};
use crate::markdown::{Block, Page, assert_none, root};

/// The hosts of `inventory/local.toml` are 127.0.0.11 and so on.
const NET: &str = "127.0.0.";

static EXIT_CODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)\bexit code is (\d+)").expect("a valid pattern"));

/// What differs from run to run, or by where the planner places an instance.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = concat!(
        r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|\b\d+(\.\d+)?(ms|s)\b|\b(node\d|127\.\d+\.\d+\.\d+)(:\d+)?",
        r"|\btestpage-[0-9a-f]{10}-\w{5}\b|\b[0-9a-f]{10}\b|\S+@\S+|\s+",
    );
    Regex::new(pattern).expect("a valid pattern")
});

const QUICK_START: &str = "docs/getting-started/quick-start.md";
const README: &str = "README.md";

#[test]
fn commands_of_the_quick_start_run() {
    run_commands(&Page::read(QUICK_START), None);
}

#[test]
fn commands_of_the_readme_quick_start_run() {
    run_commands(&Page::read(README), Some("Quick start"));
}

#[test]
fn quick_start_shows_what_ship_prints() {
    let mut problems = run_commands(&Page::read(QUICK_START), None);
    problems.extend(run_commands(&Page::read(README), Some("Quick start")));
    assert_none(&problems);
}

/// Runs the `ship` commands of a page, or of one of its sections, and returns the lines of the page
/// that ship does not print.
#[track_caller]
fn run_commands(page: &Page, section: Option<&str>) -> Vec<String> {
    let path = &page.path;
    let lines = section.map_or(1..=usize::MAX, |title| section_lines(page, title));
    let demo = Demo::new();
    let mut count = 0;
    let mut problems = Vec::new();
    let blocks = page.blocks();
    for block in blocks.iter().filter(|block| lines.contains(&block.line)) {
        for ShipCommand { line, words } in ship_commands(block).expect("closed quotes") {
            let code = expected_exit_code(page, block.line + 1 + block.text.lines().count());
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            println!("{path}:{line}: ship {}", words.join(" "));
            let done = ship(demo.dir.root(), &words).exits(code);
            println!("{}{}", done.stdout, done.stderr);
            let printed = format!("{}{}", done.stdout, done.stderr);
            problems.extend(missing_lines(block, line, &printed).map(|it| format!("{path}:{it}")));
            count += 1;
        }
    }
    assert!(count > 3, "{path} has {count} commands, expected more");
    problems
}

/// The lines that a block shows after the command at `line` and that were not printed.
fn missing_lines(block: &Block, line: usize, printed: &str) -> impl Iterator<Item = String> {
    let constant = |line: &str| VARIABLE.replace_all(line, "").into_owned();
    let printed: Vec<_> = printed.lines().map(constant).collect();
    let shown = block.text.lines().enumerate().skip(line - block.line);
    let shown = shown.take_while(|(_, text)| !text.starts_with("$ "));
    let missing = shown.filter(move |(_, text)| {
        *text != "..." && !printed.iter().any(|line| line.contains(&constant(text)))
    });
    missing
        .map(|(number, text)| format!("{}: ship does not print `{text}`", block.line + 1 + number))
}

/// The lines of a section, without its heading.
fn section_lines(page: &Page, title: &str) -> std::ops::RangeInclusive<usize> {
    let prose = page.prose();
    let heading = format!("## {title}");
    let start = prose.iter().find(|it| it.text == heading).map(|it| it.line);
    let start = start.unwrap_or_else(|| panic!("{} has no `{heading}`", page.path));
    let end = prose
        .iter()
        .find(|it| it.line > start && it.text.starts_with("## "));
    start..=end.map_or(usize::MAX, |it| it.line)
}

/// The code that the sentences after a block name, up to the next block; otherwise 0.
fn expected_exit_code(page: &Page, end_of_block: usize) -> i32 {
    let after: Vec<_> = page.text.lines().skip(end_of_block).collect();
    let sentences = after
        .iter()
        .take_while(|line| !line.trim_start().starts_with("```"));
    let sentences = sentences.copied().collect::<Vec<_>>().join(" ");
    let found = EXIT_CODE.captures(&sentences);
    found.map_or(0, |found| found[1].parse().expect("a small number"))
}

/// A copy of the demo with addresses of its own. Its instances end with it.
struct Demo {
    dir: ProjectDir,
    /// While the listener is open, no other test takes the same addresses.
    _reserved: TcpListener,
}

impl Demo {
    fn new() -> Self {
        let dir = ProjectDir::new("");
        let (net, reserved) = addresses();
        for name in ["inventory", "playbooks"] {
            let (from, to) = (root().join(name), dir.path("."));
            run(
                "cp",
                &["-R", &from.display().to_string(), &to.display().to_string()],
            );
        }
        let inventory = dir.path("inventory/local.toml");
        let text = fs::read_to_string(&inventory).expect("the inventory of the demo");
        assert!(
            text.contains(NET),
            "inventory/local.toml has other addresses"
        );
        write(&inventory, &text.replace(NET, &format!("{net}.")));
        Self {
            dir,
            _reserved: reserved,
        }
    }
}

impl Demo {
    /// The processes that work in the directory: instances, and `ship` itself.
    fn processes(&self) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").expect("procfs").flatten();
        let pids = entries.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let dir = fs::read_link(entry.path().join("cwd")).ok()?;
            dir.starts_with(self.dir.root())
                .then(|| Pid::from_raw(pid))?
        });
        pids.collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for pid in self.processes() {
            // A process that has just ended cannot be killed.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The first three numbers of loopback addresses that no other test uses, and what reserves them.
fn addresses() -> (String, TcpListener) {
    const TRIES_MAX: u32 = 1000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..TRIES_MAX {
        let number = std::process::id()
            .wrapping_mul(37)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let net = format!("127.{}.{}", 210 + number / 100 % 40, 100 + number % 100);
        if let Ok(listener) = TcpListener::bind(format!("{net}.1:8080")) {
            return (net, listener);
        }
    }
    panic!("no free loopback addresses after {TRIES_MAX} tries");
}

#[test]
fn exit_code_of_a_failed_command_is_read_from_the_page() {
    let page = Page {
        path: String::new(),
        text: "```console\n$ ship deploy\n```\n\nThe exit code is 3: failed.\n\n```\n```\n"
            .to_owned(),
    };
    assert_eq!(expected_exit_code(&page, 3), 3);
    assert_eq!(expected_exit_code(&page, 6), 0);
}
