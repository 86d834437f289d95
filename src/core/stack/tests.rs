//! Tests of the policy of a stack.

mod record;
mod rules;
