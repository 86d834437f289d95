//! Deployments of a stack: several services under one command.
//!
//! Each service keeps its own files, lease, revisions and rollouts, and the verbs for one service do
//! the work. What comes next is decided by [`crate::core::stack`].

mod conclusion;
mod continuation;
mod controller;
mod deploy;
mod environment;
mod notification;
mod pause;
mod preparation;
mod promote;
mod report;
mod rollback;
mod services;
mod staging;
mod steps;

pub use conclusion::StackConclusion;
pub use continuation::{abort, resume, unfinished};
pub use deploy::{StackDeployRequest, deploy};
pub use pause::pause;
pub use promote::{StackPromotion, promote};
pub use report::report;
pub use rollback::{StackRollbackRequest, preview_rollback, rollback};
pub use services::{StackServiceEnv, StackServices, deployments};
