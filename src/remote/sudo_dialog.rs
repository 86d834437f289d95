//! The dialog with `sudo -S` before a script: the password goes out only when sudo asks for it,
//! and the script only when a process of root reads it.
//!
//! Both travel on the same standard input. If they were sent together, sudo would take a script
//! for a password after a wrong one, a script would read the password where sudo asks for none,
//! and sudo-rs would swallow the beginning of the script, because it reads ahead.

use futures::future::BoxFuture;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::escalation::{NO_PERMISSION, PROMPT};
use super::sudo_password::{SudoPassword, Turn};
use crate::core::ids::HostId;
use crate::core::policy::password_proof::{PasswordRejection, PasswordVerdict};

/// The prompt of sudo-rs.
const PROMPT_OF_SUDO_RS: &str = "[sudo: ship-sudo-password] Password: ";

/// What a shell or sudo prints if the command does not exist on the host.
const NO_COMMAND: [&str; 2] = ["command not found", "unable to execute"];

/// What the output of the host shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The process that becomes sudo.
    Process(u32),
    /// sudo asks for the password.
    Prompt,
    /// A process of root reads the standard input.
    Root,
    /// The output has ended.
    End,
}

/// How the dialog ended without a process of root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PasswordRefusal {
    /// sudo rejected the password.
    Rejected,
    /// sudo asked, but another host has rejected the password, so ship did not send it.
    NotSent(PasswordRejection),
}

/// Ends the sudo with this process id.
pub(super) type EndSudo<'a> = Box<dyn Fn(u32) -> BoxFuture<'a, ()> + Send + Sync + 'a>;

/// The dialog of one script.
pub(super) struct SudoDialog<'a> {
    host: &'a HostId,
    password: &'a SudoPassword,
    /// Released when the verdict of the host is known.
    turn: Option<Turn<'a>>,
    end_sudo: EndSudo<'a>,
    sender: UnboundedSender<Sign>,
    signs: UnboundedReceiver<Sign>,
    was_sent: bool,
    is_root: bool,
    refusal: Option<PasswordRefusal>,
}

impl<'a> SudoDialog<'a> {
    pub(super) fn new(
        host: &'a HostId,
        password: &'a SudoPassword,
        turn: Option<Turn<'a>>,
        end_sudo: EndSudo<'a>,
    ) -> Self {
        let (sender, signs) = unbounded_channel();
        Self {
            host,
            password,
            turn,
            end_sudo,
            sender,
            signs,
            was_sent: false,
            is_root: false,
            refusal: None,
        }
    }

    /// Where the readers of the output report what they find.
    pub(super) fn sender(&self) -> UnboundedSender<Sign> {
        self.sender.clone()
    }

    /// Answers sudo; returns whether a process of root reads the input now.
    pub(super) async fn hold(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> bool {
        let mut process = None;
        loop {
            match self.signs.recv().await.unwrap_or(Sign::End) {
                Sign::Process(id) => process = Some(id),
                Sign::Root => {
                    let verdict = if self.was_sent {
                        PasswordVerdict::Accepted
                    } else {
                        PasswordVerdict::NotNeeded
                    };
                    self.password.record(self.host, verdict);
                    self.is_root = true;
                    self.turn = None;
                    return true;
                }
                Sign::Prompt if self.was_sent => {
                    self.reject();
                    self.end(process).await;
                    return false;
                }
                Sign::Prompt => {
                    if let Some(rejection) = self.password.obstacle(self.host) {
                        self.refusal = Some(PasswordRefusal::NotSent(rejection));
                        self.end(process).await;
                        return false;
                    }
                    self.was_sent = true;
                    let line = self.password.line();
                    if to.write_all(&line).await.is_err() || to.flush().await.is_err() {
                        return false;
                    }
                }
                Sign::End => return false,
            }
        }
    }

    /// Ends a sudo that waits for a password. The end of its input would count as another failed
    /// login.
    async fn end(&self, process: Option<u32>) {
        if let Some(process) = process {
            (self.end_sudo)(process).await;
        }
    }

    /// How the dialog ended, given what sudo printed and whether sudo has ended; `None` if the
    /// password was not the reason.
    ///
    /// A sudo that got the password and ended for an unknown reason has rejected it: any PAM
    /// module may do so in its own words, and another host must not get it then.
    pub(super) fn refusal(&mut self, printed: &str, has_ended: bool) -> Option<PasswordRefusal> {
        let right_password = || NO_PERMISSION.iter().chain(&NO_COMMAND);
        let is_right = || right_password().any(|sign| printed.contains(sign));
        if self.refusal.is_none() && self.was_sent && !self.is_root && has_ended && !is_right() {
            self.reject();
        }
        if self.refusal == Some(PasswordRefusal::Rejected) {
            self.password.record_output(self.host, printed.to_owned());
        }
        self.refusal.clone()
    }

    fn reject(&mut self) {
        self.password.record(self.host, PasswordVerdict::Rejected);
        self.refusal = Some(PasswordRefusal::Rejected);
        self.turn = None;
    }

    /// Standard error without the password and the prompts; if a process of root has read the
    /// script, also without what sudo printed before, such as its lecture.
    pub(super) fn tidy(&self, text: &str, has_root: bool) -> String {
        let text = text.replace(PROMPT_OF_SUDO_RS, PROMPT);
        let text = match text.rsplit_once(PROMPT) {
            Some((_, after)) if has_root => after.strip_prefix('\n').unwrap_or(after).to_owned(),
            _ => text.replace(PROMPT, ""),
        };
        self.password.redact(&text)
    }
}

/// Finds the prompts in a stream that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct PromptFinder {
    /// The end of the text so far, which may be the beginning of a prompt.
    rest: Vec<u8>,
}

impl PromptFinder {
    /// How many prompts end within this piece.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let prompt = PROMPT.as_bytes();
        self.rest.extend_from_slice(bytes);
        let mut count = 0;
        while let Some(at) = self
            .rest
            .windows(prompt.len())
            .position(|window| window == prompt)
        {
            count += 1;
            self.rest.drain(..at + prompt.len());
        }
        let surplus = self.rest.len().saturating_sub(prompt.len() - 1);
        self.rest.drain(..surplus);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::sync::Mutex;

    /// Holds the dialog with these signs; returns what was written, whether the script may follow,
    /// the refusal, and the processes that were ended.
    async fn held(
        password: &SudoPassword,
        host: &str,
        signs: &[Sign],
        printed: &str,
    ) -> (String, bool, Option<PasswordRefusal>, Vec<u32>) {
        let (host, ended) = (HostId::from(host), Mutex::new(Vec::new()));
        let end = |process| {
            ended.lock().unwrap().push(process);
            std::future::ready(()).boxed()
        };
        let mut dialog = SudoDialog::new(&host, password, None, Box::new(end));
        for sign in signs {
            dialog.sender().send(*sign).unwrap();
        }
        let mut written = Vec::new();
        let is_root = dialog.hold(&mut written).await;
        let refusal = dialog.refusal(printed, true);
        drop(dialog);
        let written = String::from_utf8(written).unwrap();
        (written, is_root, refusal, ended.into_inner().unwrap())
    }

    #[tokio::test]
    async fn password_is_sent_only_to_a_sudo_that_asks() {
        use Sign::{Process, Prompt, Root};
        let password = SudoPassword::new("geheim".into());
        let asks = held(&password, "a", &[Process(7), Prompt, Root], "").await;
        assert_eq!(asks, ("geheim\n".to_owned(), true, None, vec![]));
        let asks_not = held(&password, "b", &[Process(7), Root], "").await;
        assert_eq!(asks_not, (String::new(), true, None, vec![]));
    }

    #[tokio::test]
    async fn wrong_password_is_sent_once_and_to_no_other_host() {
        use Sign::{Process, Prompt};
        let password = SudoPassword::new("geheim".into());
        let wrong = held(&password, "a", &[Process(7), Prompt, Prompt], "").await;
        let rejected = Some(PasswordRefusal::Rejected);
        assert_eq!(wrong, ("geheim\n".to_owned(), false, rejected, vec![7]));
        let other = held(&password, "b", &[Process(8), Prompt], "").await;
        let not_sent = Some(PasswordRefusal::NotSent(password.rejection().unwrap()));
        assert_eq!(other, (String::new(), false, not_sent, vec![8]));
    }

    #[tokio::test]
    async fn sudo_that_ends_after_the_password_has_rejected_it_unless_it_says_otherwise() {
        use Sign::{End, Prompt};
        let password = SudoPassword::new("geheim".into());
        let output = "sudo-rs: PAM error: Permission denied";
        let (.., refusal, _) = held(&password, "a", &[Prompt, End], output).await;
        assert_eq!(refusal, Some(PasswordRefusal::Rejected));
        assert_eq!(password.rejection().unwrap().output, output);
        let password = SudoPassword::new("geheim".into());
        let output = "deploy is not in the sudoers file.";
        let (.., refusal, _) = held(&password, "a", &[Prompt, End], output).await;
        assert_eq!(refusal, None, "the password was right");
    }

    #[test]
    fn prompt_is_found_across_pieces_and_within_that_of_sudo_rs() {
        let text = format!("lecture\n{PROMPT_OF_SUDO_RS}\nship-sudo-{PROMPT}");
        for size in 1..text.len() {
            let mut finder = PromptFinder::default();
            let count: usize = text
                .as_bytes()
                .chunks(size)
                .map(|piece| finder.take(piece))
                .sum();
            assert_eq!(count, 2, "in pieces of {size}");
        }
    }
}
