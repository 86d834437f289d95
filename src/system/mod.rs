//! Floor 0: wrappers of the operating system that several floors need: accounts, process groups,
//! random numbers.

pub mod accounts;
pub mod process_group;
pub mod random;
