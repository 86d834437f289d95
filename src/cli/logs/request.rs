//! What `ship logs` is asked for.

use super::super::args::Form;
use crate::core::time::Time;

pub(super) struct LogRequest {
    pub(super) follow: bool,
    pub(super) since: Option<Time>,
    pub(super) lines: Option<u32>,
    pub(super) output: Form,
}
