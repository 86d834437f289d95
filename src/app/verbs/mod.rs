//! The verbs. Each takes a request and returns a conclusion.

pub mod abort;
pub mod adopt;
pub mod check;
pub mod cron;
pub mod deploy;
pub mod disconnect;
pub mod freeze;
pub mod history;
pub mod init;
pub mod inventory;
pub mod logs;
pub mod migrate;
pub mod pause;
pub mod plan;
pub mod promote;
pub mod report;
pub mod restart;
pub mod resume;
pub mod rollback;
pub mod scale;
pub mod state;
pub mod status;
pub mod unlock;
