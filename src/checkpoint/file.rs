//! Replaces a file as a whole or not at all.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::Error;

/// How the name of a file that is being written ends.
const UNFINISHED: &str = ".unfinished";

/// Writes a file beside `path` by `write`, brings it to the disk and then gives it the name `path`.
/// Whatever fails, and whenever the process dies, the old file is there until the new one is complete.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(BufWriter<File>) -> Result<BufWriter<File>, Error>,
) -> Result<(), Error> {
    let refused = |error: io::Error| Error::File {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let Some(name) = path.file_name() else {
        return Err(Error::File {
            path: path.to_owned(),
            message: "it names no file".to_owned(),
        });
    };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    remove_abandoned(directory, name);
    let unfinished = Unfinished::create(directory, name).map_err(refused)?;
    let out = write(BufWriter::new(
        unfinished.file.try_clone().map_err(refused)?,
    ))?;
    drop(
        out.into_inner()
            .map_err(|error| refused(error.into_error()))?,
    );
    unfinished.file.sync_all().map_err(refused)?;
    unfinished.rename(path).map_err(refused)?;
    // The new name reaches the disk with its directory. Windows does not open directories.
    #[cfg(unix)]
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(refused)?;
    Ok(())
}

/// A file that is removed unless it is renamed. It is locked as long as its writer lives.
struct Unfinished {
    path: PathBuf,
    file: File,
    is_renamed: bool,
}

impl Unfinished {
    fn create(directory: &Path, name: &OsStr) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut own = beginning(name);
        own.push(format!("{}-{number}{UNFINISHED}", std::process::id()));
        let path = directory.join(own);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        // Where files cannot be locked, what a killed process leaves is not removed.
        let _ = file.try_lock();
        Ok(Self {
            path,
            file,
            is_renamed: false,
        })
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_renamed {
            // The error that led here says more than one of this.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what processes left that were killed while they wrote the file `name`.
fn remove_abandoned(directory: &Path, name: &OsStr) {
    let beginning = beginning(name);
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let other = entry.file_name();
        let other = other.as_encoded_bytes();
        let is_ours = other.starts_with(beginning.as_encoded_bytes())
            && other.ends_with(UNFINISHED.as_bytes());
        if !is_ours {
            continue;
        }
        let lock = OpenOptions::new().write(true).open(entry.path());
        if lock.is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// How the names of unfinished files for `name` begin.
fn beginning(name: &OsStr) -> OsString {
    let mut beginning = OsString::from(".");
    beginning.push(name);
    beginning.push(".");
    beginning
}
