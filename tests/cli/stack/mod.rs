//! Stacks: several services in one inventory, deployed and undone by one command.

mod events;
mod project;

mod failure;
mod history;
mod input;
mod interrupt;
mod live_screen;
mod migrations;
mod notification;
mod order;
mod preparation;
mod report;
mod verbs;
