//! Where a page goes: the value of `--out`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use crate::page::Page;
use crate::picture::PNG_WIDTH;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// The whole page.
    Html,
    /// The pictures alone, in light colours.
    Svg,
    /// The pictures alone, in light colours, 1920 pixels wide.
    Png,
}

/// A file to be: `FILE.html` for the whole page, `FILE.svg` or `FILE.png` for its pictures. One
/// picture is in FILE itself, several are in `FILE-1.svg`, `FILE-2.svg` and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    path: PathBuf,
    file_type: FileType,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let extension = path
            .extension()
            .map(|extension| extension.to_ascii_lowercase());
        let file_type = match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("html") => FileType::Html,
            Some("svg") => FileType::Svg,
            Some("png") => FileType::Png,
            _ => return Err("expected FILE.html, FILE.svg or FILE.png".into()),
        };
        Ok(Self { path, file_type })
    }
}

impl Output {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Fails where the file could not be written; call it before any work is done. What is there
    /// stays as it is.
    pub fn check(&self) -> Result<()> {
        check_writable(&self.path).with_context(|| format!("--out {}", self.path.display()))
    }

    /// Writes the page or its pictures, and says which files there are now. A file is whole or as
    /// it was before.
    pub fn write(&self, page: &Page) -> Result<Vec<PathBuf>> {
        let files = match self.file_type {
            FileType::Html => vec![(self.path.clone(), page.html()?.into_bytes())],
            FileType::Svg | FileType::Png => self.pictures(page)?,
        };
        for (path, contents) in &files {
            write_whole(path, contents).with_context(|| format!("--out {}", path.display()))?;
        }
        Ok(files.into_iter().map(|file| file.0).collect())
    }

    fn pictures(&self, page: &Page) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let count = page.pictures().count();
        ensure!(
            count > 0,
            "--out {}: there are no pictures, only tables: expected FILE.html",
            self.path.display()
        );
        let pictures = page.pictures().enumerate().map(|(index, picture)| {
            let contents = match self.file_type {
                FileType::Png => picture.png(PNG_WIDTH)?,
                _ => picture.svg().into_bytes(),
            };
            let path = match count {
                1 => self.path.clone(),
                _ => self.numbered(index + 1),
            };
            Ok((path, contents))
        });
        pictures.collect()
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let [stem, extension] = [self.path.file_stem(), self.path.extension()]
            .map(|part| part.unwrap_or_default().to_string_lossy());
        self.path
            .with_file_name(format!("{stem}-{number}.{extension}"))
    }
}

/// Fails if a file at `path` could not be written. What is there stays as it is.
pub fn check_writable(path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "is a folder");
    if let Ok(there) = fs::metadata(path) {
        ensure!(
            !there.permissions().readonly(),
            "is there and may not be written"
        );
    }
    let draft = Draft::create(path)?;
    drop(draft);
    Ok(())
}

/// Writes a file at `path` that is whole, or as it was before.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    check_writable(path)?;
    let mut draft = Draft::create(path)?;
    draft.file.write_all(contents)?;
    draft.file.sync_all()?;
    fs::rename(&draft.path, &draft.target)?;
    Ok(())
}

/// A file beside the one that it is to become. Goes away unless it is renamed.
struct Draft {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    fn create(path: &Path) -> Result<Self> {
        // A link stays one.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target
            .file_name()
            .context("names no file")?
            .to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{}", process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self { file, path, target })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is none.
        let _ = fs::remove_file(&self.path);
    }
}
