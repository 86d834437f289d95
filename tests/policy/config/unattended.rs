//! `[unattended]`.

use std::time::Duration;

use ship::config::UnattendedConfig;
use ship::core::policy::unattended::OnInterrupted;
use ship::core::spec::step::OnGate;
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

/// The files with an `[unattended]` table that contains these lines, from line 12 of the playbook on.
fn with(lines: &str) -> Files {
    files().playbook("[rollout]", &format!("[unattended]\n{lines}\n[rollout]"))
}

fn read(lines: &str) -> UnattendedConfig {
    with(lines).project().playbook.unattended
}

#[test]
fn unattended_has_defaults() {
    let unattended = files().project().playbook.unattended;
    assert_eq!(unattended.on_gate, OnGate::Exit);
    assert_eq!(unattended.soak, Duration::from_mins(1));
    assert_eq!(unattended.on_interrupted, OnInterrupted::Resume);
    assert!(unattended.windows.is_empty() && unattended.time_zone.is_none());
}

#[test]
fn windows_are_one_or_a_list_with_a_time_zone() {
    assert_eq!(read("windows = \"02:00-05:00\"").windows.len(), 1);
    let unattended = read(
        "windows = [\"Mon-Fri 22:00-04:00\", \"Sat,Sun 00:00-24:00\"]\ntime_zone = \
         \"America/New_York\"\n\
         on_interrupted = \"abort\"\nsoak = \"0s\"",
    );
    let shown: Vec<_> = unattended.windows.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["Mon-Fri 22:00-04:00", "Sat,Sun 00:00-24:00"]);
    let zone = unattended.time_zone.expect("it is named");
    assert_eq!(zone.iana_name(), Some("America/New_York"));
    assert_eq!(unattended.on_interrupted, OnInterrupted::Abort);
    assert_eq!(unattended.soak, Duration::ZERO);
}

#[test]
fn invalid_window_and_time_zone_are_reported() {
    let lines = "windows = [\"02:00-05:00\", \"Mo 2-5\"]\ntime_zone = \
                 \"Europe/Zuerich\"\non_interrupted = \"retry\"";
    assert_data_eq!(
        with(lines).report(),
        str![[r#"
error: `windows` is not a valid window: `Mo 2-5`: expected one of Mon, Tue, … Sun, found `Mo`
  --> web.toml:13:27
   |
13 | windows = ["02:00-05:00", "Mo 2-5"]
   |                           ^^^^^^^^
   |
   = help: for example "02:00-05:00", or ["Mon-Fri 02:00-05:00", "Sat,Sun 00:00-24:00"]

error: `time_zone` is not a known time zone: `Europe/Zuerich`
  --> web.toml:14:13
   |
14 | time_zone = "Europe/Zuerich"
   |             ^^^^^^^^^^^^^^^^
   |
   = help: for example "Europe/Zurich"

error: `on_interrupted` must be "resume" or "abort", not `retry`
  --> web.toml:15:18
   |
15 | on_interrupted = "retry"
   |                  ^^^^^^^
   |
   = help: write "resume" or "abort"
"#]]
        .raw()
    );
    assert_data_eq!(
        with("windows = []").report(),
        str![[r#"
error: `windows` must contain at least one window
  --> web.toml:13:11
   |
13 | windows = []
   |           ^^
   |
   = help: for example "02:00-05:00", or ["Mon-Fri 02:00-05:00", "Sat,Sun 00:00-24:00"]; or leave it out to permit any time
"#]]
        .raw()
    );
}
