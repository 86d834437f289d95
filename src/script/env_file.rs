//! An environment as a file that both `. file` in sh and systemd's `EnvironmentFile=` read alike.

use std::collections::BTreeMap;

/// `KEY="value"` lines. The keys have been checked to be names of variables.
pub fn env_file(env: &BTreeMap<String, String>) -> String {
    env.iter().map(|(key, value)| format!("{key}=\"{}\"\n", escape(value))).collect()
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | '"' | '`' | '$') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
