//! `bitween create`: makes a torrent file of a file or folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::CliError;
use super::hash_progress::HashProgress;
use super::interrupt::Interrupt;
use super::output::tell_left_out;
use super::transfer::tracker_url;
use crate::proto::metainfo::{Magnet, Metainfo};
use crate::storage::create::{CreateError, CreateOptions, Scan, scan};
use crate::types::Printable;

/// Smallest and largest `--piece-size`, in bytes.
const PIECE_SIZES: std::ops::RangeInclusive<u64> = 16 * 1024..=64 * 1024 * 1024;

/// Things left out that are named; the others are counted.
const NAMED_SKIPPED: usize = 10;

/// Make a torrent of a file or folder.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bitween create ~/Holiday -o holiday.torrent\n  bitween create film.mkv --tracker http://tracker.example.org/announce --private"
)]
pub struct Args {
    /// The file or folder
    path: PathBuf,
    /// Torrent file to write [default: NAME.torrent in the current folder]
    #[arg(short, long, value_name = "OUT.torrent")]
    output: Option<PathBuf>,
    /// Tracker to announce to; may be given several times, each is a tier of its own
    #[arg(long, value_name = "URL", value_parser = tracker_url)]
    tracker: Vec<String>,
    /// Bytes per piece: a power of two from 16KiB to 64MiB [default: by size]
    #[arg(long, value_name = "N", value_parser = piece_size)]
    piece_size: Option<u32>,
    /// Peers may come from the trackers only
    #[arg(long)]
    private: bool,
    /// Text for whoever reads the torrent
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Overwrite the torrent file if it exists
    #[arg(long)]
    force: bool,
}

/// Makes the torrent and prints info hash, file and magnet link.
///
/// # Errors
/// [`CliError`] names the file that cannot be read or written.
pub fn run(args: &Args) -> Result<(), CliError> {
    let interrupt = Interrupt::listen()?;
    let scan = scan(&args.path).map_err(|error| CliError::failed(Printable(&error.to_string())))?;
    let output = output(args, &scan)?;
    let left_out = scan.skipped.iter().map(|skipped| (skipped.path.display().to_string(), skipped.reason.to_string()));
    tell_left_out(left_out.take(NAMED_SKIPPED), scan.skipped.len());
    let progress = HashProgress::new();
    let options = CreateOptions {
        piece_length: args.piece_size,
        private: args.private,
        comment: args.comment.clone(),
        trackers: args.tracker.iter().map(|url| vec![url.clone()]).collect(),
        created_by: Some(concat!("bitween/", env!("CARGO_PKG_VERSION")).to_owned()),
        creation_date: now(),
    };
    let made = scan.hash(&options, &|done, total| progress.update(done, total), interrupt.flag());
    progress.finish();
    let metainfo = made.map_err(|error| match error {
        CreateError::Cancelled => CliError::failed("interrupted; no torrent file was written"),
        error => CliError::failed(Printable(&error.to_string())),
    })?;
    write_file(&output, &metainfo.to_bytes())?;
    print(&metainfo, &output, &mut io::stdout().lock()).map_err(CliError::from)
}

fn print(metainfo: &Metainfo, output: &Path, out: &mut impl Write) -> io::Result<()> {
    let magnet = Magnet {
        name: Some(metainfo.info.name.to_string()),
        trackers: metainfo.about.trackers.concat(),
        ..Magnet::new(metainfo.info_hash)
    };
    writeln!(out, "info hash: {}", metainfo.info_hash)?;
    writeln!(out, "file:      {}", Printable(&output.display().to_string()))?;
    writeln!(out, "magnet:    {magnet}")
}

/// Where the torrent file goes. Checked before hours of hashing.
fn output(args: &Args, scan: &Scan) -> Result<PathBuf, CliError> {
    let output = args.output.clone().unwrap_or_else(|| {
        let name = crate::proto::metainfo::path::safe_component(&scan.name);
        PathBuf::from(format!("{name}.torrent"))
    });
    let shown = output.display().to_string();
    let shown = Printable(&shown);
    if output.is_dir() {
        return Err(CliError::failed(format_args!("{shown} is a folder; name the torrent file with -o")));
    }
    if !args.force && output.symlink_metadata().is_ok() {
        let hint = "choose another name with -o, or overwrite it with --force";
        return Err(CliError::failed(format_args!("{shown} exists already; {hint}")));
    }
    let folder = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder =
        folder.canonicalize().map_err(|error| CliError::failed(format_args!("cannot write {shown}: {error}")))?;
    if args.path.is_dir() && args.path.canonicalize().is_ok_and(|path| folder.starts_with(path)) {
        let hint = "choose another place with -o";
        return Err(CliError::failed(format_args!("{shown} would lie inside the folder that it describes; {hint}")));
    }
    Ok(output)
}

/// Writes beside and renames, so that nobody ever sees half a torrent file.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // What is left of it helps nobody; if it cannot be removed either, the first error is the one to tell.
        let _ = fs::remove_file(&beside);
        CliError::failed(format_args!("cannot write {}: {error}", Printable(&path.display().to_string())))
    })
}

#[expect(clippy::disallowed_methods, reason = "the date in the torrent file is the real one")]
fn now() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Reads `262144`, `256KiB` or `1MiB` (`K`, `M` and lower case too).
fn piece_size(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.strip_prefix(digits).unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1024,
        "m" | "mib" => 1024 * 1024,
        other => return Err(format!("{other:?} is no unit; use KiB or MiB")),
    };
    let bytes: Option<u64> = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| PIECE_SIZES.contains(bytes) && bytes.is_power_of_two())
        .and_then(|bytes| u32::try_from(bytes).ok())
        .ok_or_else(|| "it has to be a power of two from 16KiB to 64MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &[&str]) -> Args {
        Line::try_parse_from([&["create"], line].concat()).unwrap().args
    }

    #[test]
    fn piece_sizes_are_powers_of_two_with_a_unit() {
        for (text, bytes) in
            [("16384", 16_384), ("16KiB", 16_384), ("256k", 262_144), ("1 MiB", 1 << 20), ("64M", 1 << 26)]
        {
            assert_eq!(piece_size(text), Ok(bytes));
        }
        for text in ["", "KiB", "8KiB", "128MiB", "100KiB", "1GiB", "-1", "1.5MiB", "99999999999999999999M"] {
            assert!(piece_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_existing_file_is_only_overwritten_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let (file, out) = (dir.path().join("data"), dir.path().join("out.torrent"));
        fs::write(&file, "hello").unwrap();
        let (file, output) = (file.to_str().unwrap(), out.to_str().unwrap());
        run(&args(&[file, "-o", output, "--tracker", "http://t/", "--comment", "c", "--private"])).unwrap();
        let first = Metainfo::parse(&fs::read(&out).unwrap()).unwrap();
        assert!(first.info.private && first.about.creation_date.is_some());
        assert_eq!(
            (&first.about.trackers, first.about.comment.as_deref()),
            (&vec![vec!["http://t/".to_owned()]], Some("c"))
        );

        let failure = run(&args(&[file, "-o", output])).unwrap_err();
        assert_eq!(failure.code, 1);
        assert!(failure.message.contains("exists already"), "{failure}");
        run(&args(&[file, "-o", output, "--force", "--piece-size", "32KiB"])).unwrap();
        assert_eq!(Metainfo::parse(&fs::read(&out).unwrap()).unwrap().info.geometry.piece_length(), 32_768);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_torrent_does_not_go_into_its_own_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        let output = dir.path().join("sub/x.torrent");
        let failure = run(&args(&[dir.path().to_str().unwrap(), "-o", output.to_str().unwrap()])).unwrap_err();
        assert!(failure.message.contains("inside the folder"), "{failure}");
        let missing = dir.path().join("no/such/x.torrent");
        let failure = run(&args(&[dir.path().to_str().unwrap(), "-o", missing.to_str().unwrap()])).unwrap_err();
        assert!(failure.message.contains("cannot write"), "{failure}");
    }
}
