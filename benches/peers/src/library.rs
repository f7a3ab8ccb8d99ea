//! Shared libraries, loaded at run time from where `setup.sh` put them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::Library;

/// A library that stays loaded.
#[derive(Clone, Copy)]
pub struct Dynamic(&'static Library);

impl Dynamic {
    /// Loads the library whose file name starts with `name`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn load(name: &str) -> Result<Self, String> {
        let file = find(folder(), name).ok_or_else(|| format!("no {name} in {}", folder().display()))?;
        // SAFETY: it is the library that its package installed; its initializers are trusted.
        let library = unsafe { Library::new(&file) }.map_err(|error| error.to_string())?;
        Ok(Self(Box::leak(Box::new(library))))
    }

    /// A function.
    ///
    /// # Errors
    /// Says what is missing.
    ///
    /// # Safety
    /// `F` must be the function's type.
    pub unsafe fn get<F: Copy>(self, name: &str) -> Result<F, String> {
        // SAFETY: the caller's word for the type; the library stays loaded.
        unsafe { self.0.get::<F>(name) }.map(|symbol| *symbol).map_err(|error| error.to_string())
    }
}

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Where the libraries are; to be set once, first.
pub fn set_folder(path: PathBuf) {
    FOLDER.set(path).expect("set once");
}

fn folder() -> &'static Path {
    FOLDER.get().expect("set first")
}

/// The first file under `folder` whose name starts with `name`.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
    let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|path| path.is_dir());
    files.into_iter().find(is_it).or_else(|| folders.iter().find_map(|folder| find(folder, name)))
}
