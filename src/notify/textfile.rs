//! A metrics file, which is complete at every moment.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Puts a text in the place of a file in one step; everybody may read it. A device, a pipe or a
/// directory is refused, because the file would replace it.
///
/// # Errors
/// What was tried, and why it did not work.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let put = || {
        let dir = path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // The collector reads only what ends in `.prom`, so never this.
        let mut file = tempfile::Builder::new()
            .prefix(".ship-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(dir)?;
        file.write_all(text.as_bytes())?;
        // The umask may have taken something away.
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    put().map_err(|why: std::io::Error| {
        let why = why.to_string();
        // The temporary file's name is of no use to anybody.
        let why = why
            .split_once(" at path ")
            .map_or(why.as_str(), |(why, _)| why);
        format!("{} cannot be written: {why}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn file_is_replaced_and_anything_else_is_refused() {
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
