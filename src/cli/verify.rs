//! `bitween verify`: compares what is on the disk with a torrent file.

use std::io::{self, Write};
use std::path::PathBuf;

use super::error::CliError;
use super::hash_progress::HashProgress;
use super::info::read_torrent;
use super::interrupt::Interrupt;
use crate::storage::inspect::{FileState, Report, check_files};
use crate::types::Printable;

/// Compare files on the disk with a torrent.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  bitween verify holiday.torrent --dir ~")]
pub struct Args {
    /// The torrent file
    #[arg(value_name = "FILE.torrent")]
    torrent: PathBuf,
    /// Folder that holds the torrent's file or folder
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Hashes the files and prints those that are not all right, then how many pieces are.
///
/// # Errors
/// [`CliError`] with code 1 unless every byte is right.
pub fn run(args: &Args) -> Result<(), CliError> {
    let metainfo = read_torrent(&args.torrent)?;
    if !args.dir.is_dir() {
        let dir = args.dir.display().to_string();
        return Err(CliError::failed(format_args!("{} is no folder", Printable(&dir))));
    }
    let interrupt = Interrupt::listen()?;
    let progress = HashProgress::new();
    let update = |done, total| progress.update(done, total);
    let report = check_files(&metainfo.info, &args.dir, &update, interrupt.flag());
    progress.finish();
    let report = report.ok_or_else(|| CliError::failed("interrupted; nothing was changed"))?;
    print(&report, &mut io::stdout().lock())?;
    if report.is_complete() { Ok(()) } else { Err(CliError::failed("the files do not match the torrent")) }
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let wrong = report.files.iter().filter(|file| file.state != FileState::Good);
    for file in wrong.clone() {
        let path = file.path.display().to_string();
        let path = Printable(&path);
        match &file.state {
            FileState::Good => {}
            FileState::Missing => writeln!(out, "missing     {path}")?,
            FileState::WrongSize { found, expected } => {
                let word = if found < expected { "short" } else { "too long" };
                writeln!(out, "{word:<11} {path} ({found} of {expected} bytes)")?;
            }
            FileState::Damaged(pieces) => {
                let plural = if *pieces == 1 { "" } else { "s" };
                writeln!(out, "damaged     {path} ({pieces} bad piece{plural})")?;
            }
            FileState::Unverified => {
                writeln!(out, "unverified  {path} (shares a piece with a file that is not there)")?
            }
            FileState::Unreadable(why) => writeln!(out, "unreadable  {path} ({why})")?,
        }
    }
    let (good, pieces) = (report.good.count_ones(), report.good.len());
    let (right, files) = (report.files.len() - wrong.count(), report.files.len());
    writeln!(out, "{good} of {pieces} pieces and {right} of {files} files are right")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::storage::create::{CreateOptions, create_torrent};
    use crate::storage::inspect::FileReport;
    use crate::types::Bitfield;

    #[test]
    fn only_a_full_match_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("data"), "hello").unwrap();
        let torrent =
            create_torrent(&dir.path().join("data"), &CreateOptions::default(), &|_, _| (), &AtomicBool::new(false));
        let args = Args { torrent: dir.path().join("x.torrent"), dir: dir.path().to_owned() };
        assert!(run(&args).unwrap_err().message.contains("cannot read"));
        fs::write(&args.torrent, torrent.unwrap()).unwrap();
        assert_eq!(run(&args), Ok(()));
        fs::write(dir.path().join("data"), "jello").unwrap();
        assert_eq!(run(&args).unwrap_err().code, 1);
        let nowhere = Args { dir: dir.path().join("no"), ..args };
        assert!(run(&nowhere).unwrap_err().message.ends_with("is no folder"));
    }

    #[test]
    fn what_is_wrong_is_listed() {
        let file = |path: &str, state| FileReport { path: path.into(), state };
        let report = Report {
            good: Bitfield::empty(3),
            files: vec![
                file("a", FileState::Good),
                file("b\u{1b}", FileState::Missing),
                file("c", FileState::WrongSize { found: 1, expected: 2 }),
                file("d", FileState::WrongSize { found: 3, expected: 2 }),
                file("e", FileState::Damaged(2)),
            ],
        };
        let mut out = Vec::new();
        print(&report, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "missing     b\\u{1b}\nshort       c (1 of 2 bytes)\ntoo long    d (3 of 2 bytes)\ndamaged     e (2 bad pieces)\n\
             0 of 3 pieces and 1 of 5 files are right\n"
        );
    }
}
