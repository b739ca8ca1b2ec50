//! Where files go that the user did not choose a place for (layer 5): the XDG base folders.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

/// Name of our folder below the base folders.
const APP: &str = "bitween";

/// `$XDG_CONFIG_HOME/bitween`. `None` without a home folder.
#[cfg(feature = "web")]
pub(crate) fn config_dir() -> Option<PathBuf> {
    etcetera::choose_base_strategy().ok().map(|xdg| xdg.config_dir().join(APP))
}

/// `$XDG_DATA_HOME/bitween`: our own files. `None` without a home folder.
pub(crate) fn data_dir() -> Option<PathBuf> {
    etcetera::choose_base_strategy().ok().map(|xdg| xdg.data_dir().join(APP))
}

/// Makes a folder that only its owner may enter; one that is there keeps its permissions.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
