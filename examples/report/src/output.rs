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

    /// [`check`](Self::check), and fails where `json` is the same file: one would be written over the
    /// other.
    pub fn check_beside(&self, json: Option<&Path>) -> Result<()> {
        ensure!(
            json != Some(self.path.as_path()),
            "--out and --json are the same file, {}: expected two.",
            self.path.display()
        );
        self.check()
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

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;
    use crate::{Axis, Figure, LineChart, Section, Series};

    /// An empty folder that goes away.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("report-{name}-{}", process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn output(&self, name: &str) -> Output {
            self.0.join(name).to_str().unwrap().parse().unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
            let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn page(pictures: usize) -> Page {
        let chart = LineChart {
            title: "a".into(),
            series: vec![Series::curve("a", vec![[0.0, 1.0], [1.0, 2.0]])],
            x: Axis::linear("x"),
            y: Axis::linear("y"),
        };
        let figure = Figure {
            picture: chart.picture().unwrap(),
            caption: String::new(),
            command: None,
        };
        let section = Section {
            figures: vec![figure; pictures],
            ..Section::default()
        };
        Page {
            title: "a".into(),
            sections: vec![section],
            ..Page::default()
        }
    }

    #[test]
    fn an_extension_that_is_none_of_three_is_answered_with_the_three() {
        for text in ["a.pdf", "a", "", ".html", "html"] {
            let error = text.parse::<Output>().unwrap_err();
            assert_eq!(error, "expected FILE.html, FILE.svg or FILE.png", "{text}");
        }
        let output: Output = "some.folder/A.HTML".parse().unwrap();
        assert_eq!(output.file_type(), FileType::Html);
    }

    #[test]
    fn what_cannot_be_written_is_known_before_any_work() {
        let folder = Folder::new("check");
        for name in ["no/such/folder.html", "folder.svg"] {
            fs::create_dir_all(folder.0.join("folder.svg")).unwrap();
            let error = format!("{:#}", folder.output(name).check().unwrap_err());
            assert!(
                error.starts_with("--out ") && error.contains(name),
                "{error}"
            );
        }
    }

    #[test]
    fn the_same_file_for_json_and_pictures_is_refused() {
        let folder = Folder::new("same");
        let output = folder.output("x.svg");
        let error = output.check_beside(Some(output.path())).unwrap_err();
        assert!(error.to_string().contains("expected two"), "{error}");
        assert!(output.check_beside(None).is_ok());
        assert!(output.check_beside(Some(Path::new("other.jsonl"))).is_ok());
    }

    #[test]
    fn a_check_leaves_the_folder_as_it_was() {
        let folder = Folder::new("untouched");
        let output = folder.output("a.html");
        output.check().unwrap();
        assert!(folder.names().is_empty());
        fs::write(output.path(), "old").unwrap();
        output.check().unwrap();
        assert_eq!(fs::read_to_string(output.path()).unwrap(), "old");
        assert_eq!(folder.names(), ["a.html"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let folder = Folder::new("failed");
        let output = folder.output("a.svg");
        fs::write(output.path(), "old").unwrap();
        let error = output.write(&page(0)).unwrap_err().to_string();
        assert!(
            error.contains("no pictures") && error.contains("FILE.html"),
            "{error}"
        );
        // The draft's place is taken.
        let draft = folder.0.join(format!(".a.svg.{}", process::id()));
        fs::create_dir(&draft).unwrap();
        assert!(output.write(&page(1)).is_err());
        assert_eq!(fs::read_to_string(output.path()).unwrap(), "old");
    }

    #[test]
    fn one_picture_is_the_file_and_several_are_numbered() {
        let folder = Folder::new("pictures");
        let one = folder.output("one.svg");
        assert_eq!(one.write(&page(1)).unwrap(), [one.path()]);
        assert_eq!(folder.output("two.png").write(&page(2)).unwrap().len(), 2);
        folder.output("page.html").write(&page(2)).unwrap();
        assert_eq!(
            folder.names(),
            ["one.svg", "page.html", "two-1.png", "two-2.png"]
        );
        let read = |name: &str| fs::read(folder.0.join(name)).unwrap();
        assert!(read("two-1.png").starts_with(b"\x89PNG"));
        assert!(read("one.svg").starts_with(b"<svg"));
        assert!(read("page.html").starts_with(b"<!DOCTYPE html>"));
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_a_link_and_a_file_keeps_nothing_of_the_draft() {
        let folder = Folder::new("link");
        let (target, link) = (folder.0.join("target.html"), folder.output("link.html"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, link.path()).unwrap();
        link.write(&page(1)).unwrap();
        assert!(fs::symlink_metadata(link.path()).unwrap().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().contains("<svg"));
        assert_eq!(folder.names(), ["link.html", "target.html"]);
    }
}
