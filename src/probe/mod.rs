//! Floor 2: asks an instance whether it is ready.
