//! Writes files of variables that systemd's `EnvironmentFile=` and a POSIX shell read in the same
//! way, byte by byte.
//!
//! Each line is `KEY="value"`. Within double quotes, both read a backslash before `"`, `\`, `` ` ``
//! and `$` as an escape, and everything else literally. systemd (`parse_env_file_internal` in its
//! `env-file.c`) expands no variables there, and a shell expands none after a backslash. So exactly
//! these four characters are escaped.
//!
//! A value contains no NUL (no environment can) and, because some readers go line by line, no line
//! break: `config` rejects both in the user's files, and also checks the names of the variables.

use std::collections::BTreeMap;

/// The text of a file with these variables, sorted by name.
pub fn env_file(variables: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in variables {
        text.push_str(key);
        text.push_str("=\"");
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '`' | '$') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push_str("\"\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// The variables as a shell reads them from the file, each with a NUL at its end.
    fn read_by_sh(variables: &BTreeMap<String, String>) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(env_file(variables).as_bytes()).unwrap();
        let mut script = "set -eu; . \"$1\"".to_owned();
        for key in variables.keys() {
            script.push_str("; printf '%s\\0' \"$");
            script.push_str(key);
            script.push('"');
        }
        let shell = Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .arg(file.path())
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&shell.stderr), "");
        assert!(shell.status.success());
        shell.stdout
    }

    /// The value as systemd reads it: its state machine for double quotes, in short.
    fn read_by_systemd(line: &str) -> String {
        let quoted = line.split_once("=\"").unwrap().1;
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next() {
                Some('"') => break,
                Some('\\') => match chars.next().unwrap() {
                    c @ ('"' | '\\' | '`' | '$') => value.push(c),
                    c => value.extend(['\\', c]),
                },
                Some(c) => value.push(c),
                None => panic!("a quote that is not closed: {line}"),
            }
        }
        assert_eq!(chars.as_str(), "");
        value
    }

    #[test]
    fn env_file_escapes_exactly_the_four_special_characters() {
        let variables = BTreeMap::from([
            (
                "A".to_owned(),
                r#"say "$HOME" \ `id` it's # 100%!"#.to_owned(),
            ),
            ("B".to_owned(), String::new()),
        ]);
        assert_eq!(
            env_file(&variables),
            "A=\"say \\\"\\$HOME\\\" \\\\ \\`id\\` it's # 100%!\"\nB=\"\"\n"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn env_file_is_read_back_by_a_shell_and_systemd(
            values in proptest::collection::vec("([\"\\\\`$'#;&|<>(){}*?~!%= \t\\n]|\\PC){0,40}", 1..8)
        ) {
            let variables: BTreeMap<String, String> =
                values.iter().enumerate().map(|(index, value)| (format!("V{index}"), value.clone())).collect();
            let expected: Vec<u8> = variables.values().flat_map(|value| [value.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(read_by_sh(&variables), expected);
            for (key, value) in &variables {
                let one = BTreeMap::from([(key.clone(), value.clone())]);
                prop_assert_eq!(&read_by_systemd(env_file(&one).trim_end_matches('\n')), value);
            }
        }
    }
}
