//! Floor 2: shows events to a person or a program.
