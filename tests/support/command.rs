//! Commands with a deadline, and the `ship` binary as users run it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::namespace;

/// The time limit of a deploy.
const DEPLOY_DEADLINE: Duration = Duration::from_mins(2);

/// The time limit for a command to print expected text.
const OUTPUT_DEADLINE: Duration = Duration::from_secs(20);

/// A running command. Its output goes to files, so that no full pipe can block it.
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

/// The result of a command.
#[derive(Debug)]
pub struct Done {
    /// The exit code; `None` if a signal ended the command or its deadline passed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Running {
    /// Starts a command with an empty stdin.
    pub fn spawn(mut command: Command) -> Self {
        let (stdout, stderr) = (namespace::unnamed_file(), namespace::unnamed_file());
        let clone = |file: &File| Stdio::from(file.try_clone().expect("one more descriptor"));
        command
            .stdin(Stdio::null())
            .stdout(clone(&stdout))
            .stderr(clone(&stderr));
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {}: {error}", command.get_program().display())
        });
        Self {
            child,
            stdout,
            stderr,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by name.
    pub fn signal(&self, name: &str) {
        namespace::run("kill", &["-s", name, &self.pid().to_string()]);
    }

    /// The standard output so far.
    pub fn stdout_so_far(&mut self) -> String {
        read_all(&mut self.stdout)
    }

    /// The standard error so far.
    pub fn stderr_so_far(&mut self) -> String {
        read_all(&mut self.stderr)
    }

    /// Waits until the command has printed this on stderr.
    #[track_caller]
    pub fn await_words(&mut self, words: &str) {
        self.await_words_within(words, OUTPUT_DEADLINE);
    }

    /// Waits until the command has printed this on stderr, within `deadline`.
    #[track_caller]
    pub fn await_words_within(&mut self, words: &str, deadline: Duration) {
        namespace::until(words, deadline, || {
            self.stderr_so_far().contains(words).then_some(())
        });
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    /// Waits for the end of the command, and kills it at the deadline.
    pub fn wait_within(mut self, deadline: Duration) -> Done {
        let started = Instant::now();
        let status = self.ended_within(deadline);
        let (stdout, stderr) = (read_all(&mut self.stdout), read_all(&mut self.stderr));
        Done {
            code: status.and_then(|status| status.code()),
            stdout,
            stderr,
            took: started.elapsed(),
        }
    }

    pub fn wait(self) -> Done {
        self.wait_within(DEPLOY_DEADLINE)
    }

    fn ended_within(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + deadline;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .expect("our own child can be killed");
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test must not leave a deploy running. Killing fails if the command has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    /// Panics with the output unless the exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Panics unless all of these texts were printed, on either stream.
    #[track_caller]
    pub fn prints(self, words: &[&str]) -> Self {
        for word in words {
            let is_printed = self.stdout.contains(word) || self.stderr.contains(word);
            assert!(
                is_printed,
                "no {word:?} in\nstdout:\n{}\nstderr:\n{}",
                self.stdout, self.stderr
            );
        }
        self
    }
}

/// Runs `ship` in a directory.
pub fn ship(dir: &Path, args: &[&str]) -> Done {
    spawn_ship(dir, args).wait()
}

/// Starts `ship` in a directory, with a clean environment and its own home directory.
pub fn spawn_ship(dir: &Path, args: &[&str]) -> Running {
    Running::spawn(ship_command(dir, args))
}

/// `ship` in a directory, with a clean environment and its own home directory, for a test to
/// extend.
pub fn ship_command(dir: &Path, args: &[&str]) -> Command {
    let home = dir.join("home");
    std::fs::create_dir_all(&home).expect("a home directory");
    let mut command = Command::new(ship_program());
    command.args(args).current_dir(dir).env_clear();
    command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("LANG", "C.UTF-8");
    command
        .env("HOME", &home)
        .env("TMPDIR", std::env::temp_dir())
        .env("USER", "tester");
    command
}

/// Another program, in the directory and the environment of a `ship`.
pub fn in_environment_of(ship: &Command, program: &str) -> Command {
    let mut command = Command::new(program);
    if let Some(dir) = ship.get_current_dir() {
        command.current_dir(dir);
    }
    let variables = ship
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(variables);
    command
}

/// A program with arguments that starts a `ship`: `setsid --wait ship deploy`.
pub fn started_by(program: &str, args: &[&str], ship: &Command) -> Command {
    let mut command = in_environment_of(ship, program);
    command
        .args(args)
        .arg(ship.get_program())
        .args(ship.get_args());
    command
}

/// The `ship` that cargo built with the tests: `target/debug/ship` for `target/debug/deps/cli-…`.
fn ship_program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    let built = test.ancestors().nth(2).expect("the directories of cargo");
    built.join("ship")
}

fn read_all(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .expect("our own file");
    String::from_utf8_lossy(&bytes).into_owned()
}
