//! What a command may do, decided from the history, the hosts and the request.

pub mod admission;
pub mod adoption;
pub mod continuation;
pub mod history;
pub mod password_proof;
pub mod revision;
pub mod rollback;
pub mod service_history;
pub mod service_state;
pub mod unattended;

#[cfg(test)]
pub(in crate::core) mod testing;
