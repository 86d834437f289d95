//! How scripts get the rights of root on a host: the key `sudo`.

use serde::{Serialize, Serializer};

use super::toml_tree::{Node, Value};
use super::value::{Faults, ValueError, nearest, quoted, wrong_kind};

const PASSWORD: &str = "password";
const DOAS: &str = "doas";
const EXPECTED: &str = "true, false, \"password\" or \"doas\"";

/// How scripts get the rights of root on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escalation {
    /// Scripts run as the login user.
    #[default]
    None,
    /// `sudo -n`: without a password.
    Sudo,
    /// `sudo -S`: with a password, if the host asks for one.
    SudoPassword,
    /// `doas -n`: without a password.
    Doas,
}

impl Escalation {
    /// Whether scripts run as root.
    pub fn is_root(self) -> bool {
        self != Escalation::None
    }
}

/// As the key has it: `true`, `false`, or a word.
impl Serialize for Escalation {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Escalation::None => to.serialize_bool(false),
            Escalation::Sudo => to.serialize_bool(true),
            Escalation::SudoPassword => to.serialize_str(PASSWORD),
            Escalation::Doas => to.serialize_str(DOAS),
        }
    }
}

/// Reads `true`, `false`, or the word of another escalation.
pub(super) fn escalation(node: &Node) -> Result<Escalation, Faults> {
    match &node.value {
        Value::Boolean(true) => Ok(Escalation::Sudo),
        Value::Boolean(false) => Ok(Escalation::None),
        Value::String(word) if word == PASSWORD => Ok(Escalation::SudoPassword),
        Value::String(word) if word == DOAS => Ok(Escalation::Doas),
        Value::String(word) => {
            let help = match nearest(word, &[PASSWORD, DOAS]) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "write it without quotes for sudo without a password: true".to_owned(),
            };
            let message = format!("must be {EXPECTED}, not {}", quoted(word));
            Err(ValueError::new(message).help(help).into())
        }
        _ => Err(wrong_kind(node, EXPECTED).into()),
    }
}
