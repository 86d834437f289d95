//! Floor 1: what is said to balancers, and what they say. Nothing here waits or connects.

pub mod haproxy;
