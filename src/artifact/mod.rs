//! Floor 2: the bytes of a release: read, packed, checked, kept.
