//! Floor 0: wrappers of the operating system that several floors need: accounts, process groups,
//! random numbers, the terminal's password prompt.

pub mod accounts;
pub mod password_prompt;
pub mod process_group;
pub mod random;
