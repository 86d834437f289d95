//! A metrics file, which is complete at every moment.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Puts a text in the place of a file in one step; everybody may read it.
///
/// # Errors
/// What was tried, and why it did not work.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
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
