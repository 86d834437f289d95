//! What a plan would do, played through.
