//! Tests of the policy of a stack: its rules one by one, and a model of everything that can happen.

mod deployment;
mod model;
mod record;
mod rules;
