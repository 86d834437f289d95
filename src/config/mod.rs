//! Floor 1: the user's files, from text to a checked project. Nothing here touches a host.
