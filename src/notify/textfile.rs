//! Writes the metrics file atomically.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Replaces a file atomically, with mode 0644. A device, a pipe or a directory is not replaced.
///
/// # Errors
/// If `path` is not a regular file or cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let replace = || {
        let dir = path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // The collector reads only files with the suffix `.prom`, so it ignores this one.
        let mut file = tempfile::Builder::new()
            .prefix(".ship-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(dir)?;
        file.write_all(text.as_bytes())?;
        // The umask may have removed permissions.
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    replace().map_err(|why: std::io::Error| {
        let why = why.to_string();
        // The name of the temporary file does not help the user.
        let why = why
            .split_once(" at path ")
            .map_or(why.as_str(), |(why, _)| why);
        format!("cannot write {}: {why}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn write_replaces_a_file_and_rejects_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("page.html");
        write(&file, "old").unwrap();
        write(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");

        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        for path in [socket.as_path(), &link, dir.path()] {
            let refusal = write(path, "new").unwrap_err();
            assert_eq!(refusal, format!("{} is not a regular file", path.display()));
        }
        let found = fs::symlink_metadata(&socket).unwrap();
        assert!(found.file_type().is_socket());
        assert!(link.is_symlink());
    }
}
