//! What goes wrong, as the interface says it: codes for programs, one sentence for people. And the checks of paths that
//! clients send.

use std::io;
use std::path::{Path, PathBuf};

use crate::component::event;
use crate::component::rpc::{ControlError, ErrorCode};
use crate::config::ConfigError;

/// What a component answered, for the interface.
pub(super) fn from_component(error: event::ControlError) -> ControlError {
    use event::ControlError as Fault;
    let code = match &error {
        Fault::UnknownTorrent(_) | Fault::NoSource(_) => ErrorCode::UnknownHash,
        Fault::AlreadyHere(_) => ErrorCode::Conflict,
        Fault::Storage(_) => ErrorCode::Storage,
        Fault::NoAccount => ErrorCode::NoAccount,
        Fault::Offline(_) => ErrorCode::Offline,
        Fault::Refused(_) => ErrorCode::Conflict,
        Fault::NoAnswer(_) => ErrorCode::Busy,
    };
    ControlError::new(code, error.to_string())
}

/// A file of the data folder cannot be used.
pub(super) fn from_config(error: &ConfigError) -> ControlError {
    ControlError::new(ErrorCode::Storage, error.to_string())
}

/// Checks that a file or folder to be shared is there and can be read. Answers with its path, made canonical but for
/// its own name: who shares a link shares what it leads to, under the link's name.
pub(super) fn readable(path: &Path) -> Result<PathBuf, ControlError> {
    let path = canonical(path)?;
    let metadata = std::fs::metadata(&path).map_err(|error| bad_path("read", &path, &error))?;
    let opened = match metadata {
        metadata if metadata.is_dir() => std::fs::read_dir(&path).map(drop),
        metadata if metadata.is_file() => std::fs::File::open(&path).map(drop),
        // Opening a pipe waits for whoever writes into it, perhaps for ever.
        _ => {
            let text = format!("{} is neither a file nor a folder", path.display());
            return Err(ControlError::new(ErrorCode::BadPath, text));
        }
    };
    opened.map_err(|error| bad_path("read", &path, &error))?;
    Ok(path)
}

/// Checks a folder that gets a torrent. It is made if it is missing, but not the folders above it: a path with a slip
/// in it must not become a tree of folders.
pub(super) fn writable_folder(path: &Path) -> Result<PathBuf, ControlError> {
    let path = match canonical(path) {
        Ok(path) => path,
        Err(error) => {
            let parent = path.parent().filter(|parent| parent.is_dir()).ok_or(error)?;
            std::fs::create_dir(path).map_err(|error| bad_path("make", path, &error))?;
            log::info!("made the folder {} in {}", path.display(), parent.display());
            canonical(path)?
        }
    };
    if path.is_dir() {
        return Ok(path);
    }
    Err(ControlError::new(ErrorCode::BadPath, format!("{} is not a folder", path.display())))
}

fn canonical(path: &Path) -> Result<PathBuf, ControlError> {
    let failed = |error| bad_path("find", path, &error);
    if !path.is_absolute() {
        let text = format!("{} is a relative path; give one that begins with /", path.display());
        return Err(ControlError::new(ErrorCode::BadPath, text));
    }
    // Follows links, so a link that leads nowhere is found missing here.
    std::fs::metadata(path).map_err(failed)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize().map_err(failed)?.join(name)),
        _ => path.canonicalize().map_err(failed),
    }
}

fn bad_path(action: &str, path: &Path, error: &io::Error) -> ControlError {
    let path = path.display();
    let text = match error.kind() {
        io::ErrorKind::NotFound => format!("{path} does not exist"),
        io::ErrorKind::PermissionDenied => format!("no permission to {action} {path}"),
        _ => format!("cannot {action} {path}: {error}"),
    };
    ControlError::new(ErrorCode::BadPath, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_missing_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        assert_eq!(readable(&root.join("a/../file")), Ok(root.join("file")));
        assert_eq!(readable(&root.join("a/..")), Ok(root.clone()));
        let error = readable(&root.join("no")).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadPath);
        assert!(error.message.ends_with("no does not exist"), "{error}");
        assert!(readable(Path::new("relative")).unwrap_err().message.contains("relative"));
    }

    #[test]
    fn pipes_and_sockets_are_refused_without_being_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().canonicalize().unwrap().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(readable(&pipe).unwrap_err().message.ends_with("pipe is neither a file nor a folder"));
    }

    #[test]
    fn a_link_keeps_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", root.join("link")).unwrap();
        std::os::unix::fs::symlink("nothing", root.join("broken")).unwrap();
        assert_eq!(readable(&root.join("link")), Ok(root.join("link")));
        assert!(readable(&root.join("broken")).unwrap_err().message.contains("does not exist"));
    }

    #[test]
    fn the_last_folder_is_made_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert_eq!(writable_folder(&root.join("new")), Ok(root.join("new")));
        assert!(root.join("new").is_dir());
        assert!(writable_folder(&root.join("x/y")).unwrap_err().message.contains("does not exist"));
        assert!(!root.join("x").exists());
        std::fs::write(root.join("file"), "x").unwrap();
        assert!(writable_folder(&root.join("file")).unwrap_err().message.contains("not a folder"));
    }
}
