//! Shared libraries, loaded at run time from where `setup.sh` put them.

use std::ffi::c_void;
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

/// `Functions`, a table of what a library exports: each field is a function, named as there less the prefix.
macro_rules! functions {
    ($library:literal, $prefix:literal: $($name:ident: fn $arguments:tt -> $result:ty,)*) => {
        #[derive(Clone, Copy)]
        #[allow(non_snake_case)]
        pub struct Functions {
            $(pub $name: unsafe extern "C" fn $arguments -> $result,)*
        }

        impl Functions {
            pub fn load() -> Result<Self, String> {
                let library = $crate::library::Dynamic::load($library)?;
                // SAFETY: the types are those of the library's headers.
                unsafe { Ok(Self { $($name: library.get(concat!($prefix, stringify!($name)))?,)* }) }
            }
        }
    };
}
pub(crate) use functions;

/// A handle of any kind; each kind is a pointer to something opaque.
pub type Handle = *mut c_void;

/// A handle that is destroyed in the end. What destroys it may return a status.
pub struct Owned<S = ()> {
    pub handle: Handle,
    destroy: unsafe extern "C" fn(Handle) -> S,
}

impl<S> Owned<S> {
    /// What `create` puts into its argument, to be destroyed by `destroy`.
    ///
    /// # Errors
    /// Those of `create`.
    pub fn new(
        destroy: unsafe extern "C" fn(Handle) -> S,
        create: impl FnOnce(&mut Handle) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut handle = std::ptr::null_mut();
        create(&mut handle)?;
        Ok(Self { handle, destroy })
    }
}

impl<S> Drop for Owned<S> {
    fn drop(&mut self) {
        // SAFETY: the handle is of the kind that the function destroys, and this is its only owner.
        unsafe { (self.destroy)(self.handle) };
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
