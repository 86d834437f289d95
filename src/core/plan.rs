//! The whole policy.
