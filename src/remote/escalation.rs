//! The programs that run scripts as root, and what to do when they refuse.

use crate::config::Escalation;

/// The prompt that ship gives to sudo. sudo-rs prints it within its own.
pub(super) const PROMPT: &str = "ship-sudo-password";

/// What sudo and sudo-rs print if the user may not run the command, whatever the password.
pub(super) const NO_PERMISSION: [&str; 5] = [
    "is not in the sudoers file",
    "is not allowed to execute",
    "is not allowed to run",
    "may not run sudo",
    "I'm afraid I can't do that",
];

/// The words before the command that runs as root; empty without escalation.
///
/// `-k` makes sudo ask each time and leaves no cached login behind for other processes.
pub(super) fn command_words(escalation: Escalation) -> &'static [&'static str] {
    match escalation {
        Escalation::None => &[],
        Escalation::Sudo => &["sudo", "-n", "--"],
        Escalation::SudoPassword => &["sudo", "-k", "-S", "-p", PROMPT, "--"],
        Escalation::Doas => &["doas", "-n", "--"],
    }
}

/// The program that runs scripts as root.
pub(super) fn program(escalation: Escalation) -> Option<&'static str> {
    match escalation {
        Escalation::None => None,
        Escalation::Sudo | Escalation::SudoPassword => Some("sudo"),
        Escalation::Doas => Some("doas"),
    }
}

/// The next step for a message of the program, or of a shell that does not find it.
pub(super) fn advice(escalation: Escalation, output: &str, user: &str) -> String {
    match escalation {
        Escalation::Doas => doas_advice(output, user),
        _ => sudo_advice(escalation, output, user),
    }
}

/// The next step for the messages of sudo, sudo-rs, and shells that do not find sudo.
fn sudo_advice(escalation: Escalation, output: &str, user: &str) -> String {
    const NO_PASSWORD: [&str; 3] = [
        "password is required",
        "terminal is required",
        "authentication is required",
    ];
    let says = |signs: &[&str]| signs.iter().any(|sign| output.contains(sign));
    if says(&NO_PERMISSION) && escalation == Escalation::SudoPassword {
        return format!(
            "allow it: `echo '{user} ALL=(ALL) ALL' | sudo tee /etc/sudoers.d/ship` on the host, or \
             set `sudo = false` in the inventory if root is not needed"
        );
    }
    if says(&NO_PERMISSION) || says(&NO_PASSWORD) {
        return format!(
            "allow sudo without a password: `echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee \
             /etc/sudoers.d/ship` on the host; or set `sudo = \"password\"` in the inventory to type \
             the password, or `sudo = false` if root is not needed"
        );
    }
    if output.contains("must have a tty") {
        return format!(
            "allow sudo without a terminal: add `Defaults:{user} !requiretty` to \
             /etc/sudoers.d/ship"
        );
    }
    if is_missing(output, "sudo") {
        return format!(
            "install sudo on the host, log in as root instead of {user}, or set `sudo = false` (or \
             `sudo = \"doas\"` if the host has doas)"
        );
    }
    format!("log in as {user} and run `sudo -n true` to see the error")
}

/// The next step for the messages of doas, and of shells that do not find it.
fn doas_advice(output: &str, user: &str) -> String {
    const NO_PERMISSION: [&str; 4] = [
        "Authentication required",
        "Authorization required",
        "Operation not permitted",
        "doas is not enabled",
    ];
    if NO_PERMISSION.iter().any(|sign| output.contains(sign)) {
        return format!(
            "add the line `permit nopass {user} as root` to /etc/doas.conf on the host (`nopass` is \
             necessary, because doas reads a password only from a terminal), or set `sudo = false` \
             in the inventory if root is not needed"
        );
    }
    if is_missing(output, "doas") {
        return format!(
            "install doas on the host, log in as root instead of {user}, or set `sudo = true` in \
             the inventory if the host has sudo"
        );
    }
    format!("log in as {user} and run `doas -n true` to see the error")
}

/// Whether a shell did not find the program.
fn is_missing(output: &str, program: &str) -> bool {
    [
        "not found",
        "command not found",
        "No such file or directory",
    ]
    .iter()
    .any(|words| output.contains(&format!("{program}: {words}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helps(escalation: Escalation, output: &str, words: &str) {
        let advice = advice(escalation, output, "deploy");
        assert!(
            advice.contains(words) && advice.contains("deploy"),
            "{output}: {advice}"
        );
    }

    #[test]
    fn refusal_of_doas_is_answered_with_the_line_for_its_configuration() {
        let line = "`permit nopass deploy as root`";
        for (output, words) in [
            ("doas: Authentication required", line),
            ("doas: Authorization required", line),
            ("doas: Operation not permitted", line),
            (
                "doas: doas is not enabled, /etc/doas.conf: No such file or directory",
                line,
            ),
            ("ship: 1: exec: doas: not found", "install doas"),
            ("doas: not installed setuid", "`doas -n true`"),
        ] {
            helps(Escalation::Doas, output, words);
        }
    }

    #[test]
    fn refusal_of_sudo_does_not_recommend_nopasswd_to_users_of_a_password() {
        let refusal = "Sorry, user deploy is not allowed to execute '/usr/bin/timeout' as root.";
        helps(Escalation::SudoPassword, refusal, "'deploy ALL=(ALL) ALL'");
        helps(Escalation::Sudo, refusal, "NOPASSWD: ALL");
    }
}
