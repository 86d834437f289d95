//! What a verb may do, decided from the history, the hosts and the request.

pub mod adoption;
pub mod history;
pub mod service_state;
pub mod unattended;
