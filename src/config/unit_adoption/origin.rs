//! Which files of a host become the artifact.

use super::exec_line::{ExecLine, WordPart};

/// Directories that contain services which people install themselves, and the number of names below
/// them that a service has at least.
const SERVICE_ROOTS: [(&str, usize); 4] = [("/srv", 1), ("/opt", 1), ("/var/www", 1), ("/home", 2)];
/// Directories of single programs that people install themselves.
const PROGRAM_DIRS: [&str; 2] = ["/usr/local/bin", "/usr/local/sbin"];
const CONFIGURATION: &str = "/etc";

/// The files of a unit that become the artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArtifactOrigin {
    /// The directory of the service.
    Service(String),
    /// The directory of its configuration; the program comes from a package.
    Configuration(String),
    /// A single program.
    Program(String),
    /// The unit names no such files.
    Nothing,
}

impl ArtifactOrigin {
    /// Chooses the files. A Python environment is none of them, because it cannot be moved.
    pub(super) fn of(working_directory: &str, command: &ExecLine, python: &[String]) -> Self {
        let is_movable = |path: &str| !python.iter().any(|dir| is_within(path, dir));
        if is_service_dir(working_directory) {
            return Self::Service(working_directory.to_owned());
        }
        if !is_default_directory(working_directory) {
            return Self::Nothing;
        }
        let program = command.program();
        if PROGRAM_DIRS.contains(&parent(program)) {
            return Self::Program(program.to_owned());
        }
        let paths = || {
            command
                .texts()
                .filter_map(path_in)
                .filter(|p| is_movable(p))
        };
        let service = paths().find_map(|path| {
            let dir = parent(path);
            let dir = dir.strip_suffix("/bin").unwrap_or(dir);
            is_service_dir(dir).then(|| dir.to_owned())
        });
        if let Some(dir) = service {
            return Self::Service(dir);
        }
        let configuration = paths().find_map(|path| {
            let below = path.strip_prefix(CONFIGURATION)?.strip_prefix('/')?;
            let (name, _) = below.split_once('/')?;
            Some(format!("{CONFIGURATION}/{name}"))
        });
        configuration.map_or(Self::Nothing, Self::Configuration)
    }

    /// The path on the host.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Self::Service(path) | Self::Configuration(path) | Self::Program(path) => Some(path),
            Self::Nothing => None,
        }
    }

    /// A word with the paths of the artifact relative to the release; `None` if it names none.
    pub(super) fn relative(&self, word: &str, python: &[String]) -> Option<String> {
        if let Self::Program(path) = self {
            let (_, name) = path.rsplit_once('/')?;
            return (word == path).then(|| format!("./{name}"));
        }
        let dir = self.path()?;
        let path = path_in(word)?;
        if !is_within(path, dir) || python.iter().any(|env| is_within(path, env)) {
            return None;
        }
        let option = word.strip_suffix(path)?;
        let below = path.strip_prefix(dir)?.trim_start_matches('/');
        Some(match (option, below) {
            (_, "") => format!("{option}."),
            ("", below) => format!("./{below}"),
            (option, below) => format!("{option}{below}"),
        })
    }
}

/// Whether a unit does not choose the directory: systemd starts it in `/`.
pub(super) fn is_default_directory(working_directory: &str) -> bool {
    matches!(working_directory, "" | "/")
}

/// Whether a command runs in a program of a Python environment, or names a file there.
pub(super) fn uses_python_environment(command: &ExecLine, python: &[String]) -> bool {
    let first = command.words.first().into_iter().flatten();
    first.into_iter().any(|part| match part {
        WordPart::Text(path) => python.iter().any(|dir| is_within(path, dir)),
        WordPart::Variable { .. } => false,
    })
}

/// Whether a path is a directory or below it.
pub(super) fn is_within(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

fn is_service_dir(dir: &str) -> bool {
    SERVICE_ROOTS.iter().any(|(root, names)| {
        let below = dir.strip_prefix(root).and_then(|it| it.strip_prefix('/'));
        below.is_some_and(|below| below.split('/').filter(|it| !it.is_empty()).count() >= *names)
    })
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The absolute path in a word, also after an option: `--config=/etc/a.toml`.
fn path_in(word: &str) -> Option<&str> {
    if word.starts_with('/') {
        return Some(word);
    }
    let (_, value) = word.split_once('=')?;
    value.starts_with('/').then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::unit_adoption::unit_name::UnitName;

    fn origin(directory: &str, command: &str) -> ArtifactOrigin {
        let unit = UnitName::parse("a").expect("a valid name");
        let command = ExecLine::read(command, "", &unit).expect("a command");
        ArtifactOrigin::of(directory, &command, &["/srv/site/venv".to_owned()])
    }

    #[test]
    fn artifact_is_the_directory_of_the_service() {
        use ArtifactOrigin::{Configuration, Nothing, Program, Service};
        for (directory, command, expected) in [
            ("/srv/site", "/usr/bin/x", Service("/srv/site".into())),
            ("", "/opt/api/bin/api", Service("/opt/api".into())),
            ("/", "/usr/bin/node /srv/a/b.js", Service("/srv/a".into())),
            ("/srv", "/usr/bin/x", Nothing),
            ("/home/me", "/usr/bin/x", Nothing),
            ("/home/me/app", "x", Service("/home/me/app".into())),
            ("", "/home/me/server", Nothing),
            ("", "/srv/site/venv/bin/x", Nothing),
            ("", "/usr/local/bin/x", Program("/usr/local/bin/x".into())),
            (
                "",
                "/usr/bin/x -c=/etc/x/x.conf",
                Configuration("/etc/x".into()),
            ),
            ("", "/usr/sbin/cron -f /etc/crontab", Nothing),
            ("/var/lib/x", "/usr/local/bin/x", Nothing),
        ] {
            assert_eq!(
                origin(directory, command),
                expected,
                "{directory} {command}"
            );
        }
    }

    #[test]
    fn paths_of_the_artifact_become_relative() {
        let origin = ArtifactOrigin::Service("/srv/site".into());
        let python = ["/srv/site/venv".to_owned()];
        for (word, expected) in [
            ("/srv/site/run", Some("./run")),
            ("--config=/srv/site/a/b.toml", Some("--config=a/b.toml")),
            ("--chdir=/srv/site", Some("--chdir=.")),
            ("/srv/site2/run", None),
            ("/srv/site/venv/bin/gunicorn", None),
            ("run", None),
        ] {
            assert_eq!(
                origin.relative(word, &python).as_deref(),
                expected,
                "{word}"
            );
        }
    }
}
