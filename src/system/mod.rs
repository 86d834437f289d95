//! Floor 0: what ship asks of the operating system, and what several floors need: accounts, process
//! groups, random numbers.

pub mod accounts;
pub mod process_group;
pub mod random;
