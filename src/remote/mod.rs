//! Floor 2: runs a script on a host, over SSH or here.
