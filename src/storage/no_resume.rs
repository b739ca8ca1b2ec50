//! Stands where `resume.rs` does in a build without the cargo feature `resume`: there is no database, nothing is
//! remembered, and each open of a torrent hashes what is there.

use std::path::Path;

use super::error::StorageError;
use super::record::Record;
use crate::types::InfoHash;

/// There is none, and so no value of it.
pub(super) enum ResumeDb {}

impl ResumeDb {
    /// Says that it cannot be: who asks for resume data should not believe that it is kept.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        Err(StorageError::NoResumeData { path: path.to_path_buf() })
    }

    pub(super) fn load(&self, _: &InfoHash, _: &Path, _: u32, _: usize) -> Result<Option<Record>, StorageError> {
        match *self {}
    }

    pub(super) fn save(&self, _: &InfoHash, _: &Path, _: &Record) -> Result<(), StorageError> {
        match *self {}
    }

    pub(super) fn mark_unclean(&self, _: &InfoHash, _: &Path) -> Result<(), StorageError> {
        match *self {}
    }

    pub(super) fn mark_doubted(&self, _: &InfoHash, _: &Path) -> Result<(), StorageError> {
        match *self {}
    }

    pub(super) fn remove(&self, _: &InfoHash, _: &Path) -> Result<(), StorageError> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resume_data_that_cannot_be_kept_is_refused_with_the_name_of_the_feature() {
        let error = ResumeDb::open(Path::new("/x/resume.sqlite")).err().unwrap().to_string();
        assert!(error.contains("/x/resume.sqlite") && error.contains("`resume`"), "{error}");
    }
}
