//! `bitween info`: shows what a torrent file or magnet link says. The keys of `--json` are a public interface.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Serialize;

use super::error::CliError;
use super::output::size;
use super::transfer::nothing_called;
use crate::proto::metainfo::{Info, MAX_TORRENT_LEN, Magnet, Metainfo};
use crate::types::{Printable, is_unprintable};

/// Show what a torrent file or magnet link says.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  bitween info holiday.torrent\n  bitween info holiday.torrent --json")]
pub struct Args {
    /// Torrent file, magnet link or info hash
    #[arg(value_name = "FILE.torrent|MAGNET")]
    torrent: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints. Of a magnet link everything but hash, name, trackers and web seeds is null or empty.
#[derive(Debug, Serialize)]
struct Summary {
    name: Option<String>,
    info_hash: Option<String>,
    info_hash_v2: Option<String>,
    piece_length: Option<u32>,
    pieces: Option<u32>,
    /// Pad files included, as the pieces are.
    total_size: Option<u64>,
    files: Vec<FileSummary>,
    /// All tiers in one row.
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    private: bool,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
    /// The link to hand on, for readers.
    #[serde(skip)]
    magnet: String,
}

#[derive(Debug, Serialize)]
struct FileSummary {
    /// Relative to `--dir` of the other commands: begins with the torrent's name.
    path: String,
    size: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pad: bool,
}

/// Prints the torrent or magnet link.
///
/// # Errors
/// [`CliError`] if it cannot be read or understood.
pub fn run(args: &Args) -> Result<(), CliError> {
    let summary = summary(&args.torrent)?;
    let out = &mut io::stdout().lock();
    if args.json { print_json(&summary, out) } else { print_text(&summary, out) }.map_err(CliError::from)
}

/// Reads a torrent file. What is larger than any torrent is not read to its end.
///
/// # Errors
/// [`CliError`] names the file and what is wrong with it.
pub(super) fn read_torrent(path: &Path) -> Result<Metainfo, CliError> {
    let limit = u64::try_from(MAX_TORRENT_LEN).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let shown = path.display().to_string();
    let shown = Printable(&shown);
    fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| CliError::failed(format_args!("cannot read {shown}: {error}")))?;
    Metainfo::parse(&bytes).map_err(|error| CliError::failed(format_args!("{shown}: {error}")))
}

fn summary(torrent: &str) -> Result<Summary, CliError> {
    let magnet = torrent.parse::<Magnet>();
    let looks_like_link = torrent.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("magnet:"));
    match magnet {
        Err(error) if looks_like_link => Err(CliError::failed(error)),
        // A file may be called like a hash; nothing else is called like a link.
        Ok(magnet) if looks_like_link || !Path::new(torrent).exists() => Ok(magnet.into()),
        Err(_) if matches!(Path::new(torrent).try_exists(), Ok(false)) => Err(nothing_called(torrent)),
        _ => read_torrent(Path::new(torrent)).map(Summary::from),
    }
}

impl From<Magnet> for Summary {
    fn from(magnet: Magnet) -> Self {
        Self {
            magnet: magnet.to_string(),
            name: magnet.name,
            info_hash: Some(magnet.info_hash.to_string()),
            info_hash_v2: None,
            piece_length: None,
            pieces: None,
            total_size: None,
            files: Vec::new(),
            trackers: magnet.trackers,
            web_seeds: magnet.web_seeds,
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }
}

impl From<Metainfo> for Summary {
    fn from(metainfo: Metainfo) -> Self {
        let info = &metainfo.info;
        let magnet = Magnet {
            name: Some(info.name.to_string()),
            trackers: metainfo.about.trackers.concat(),
            web_seeds: metainfo.about.web_seeds.clone(),
            ..Magnet::new(metainfo.info_hash)
        };
        Self {
            magnet: magnet.to_string(),
            name: Some(info.name.to_string()),
            info_hash: Some(metainfo.info_hash.to_string()),
            info_hash_v2: info.info_hash_v2.as_ref().map(|hash| hash.to_string()),
            piece_length: Some(info.geometry.piece_length()),
            pieces: Some(info.geometry.piece_count()),
            total_size: Some(info.geometry.total()),
            files: file_summaries(info),
            trackers: metainfo.about.trackers.concat(),
            web_seeds: metainfo.about.web_seeds.clone(),
            private: info.private,
            comment: metainfo.about.comment.clone(),
            created_by: metainfo.about.created_by.clone(),
            creation_date: metainfo.about.creation_date,
        }
    }
}

fn file_summaries(info: &Info) -> Vec<FileSummary> {
    let files = info.files.iter().zip(info.file_paths());
    files.map(|(file, path)| FileSummary { path: path.display().to_string(), size: file.len, pad: file.pad }).collect()
}

fn print_json(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let json = serde_json::to_string_pretty(summary)?;
    // serde_json escapes C0 controls. The others only occur in strings, where an escape means the same.
    for c in json.chars() {
        let mut units = [0; 2];
        if c != '\n' && is_unprintable(c) {
            c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))?;
        } else {
            write!(out, "{c}")?;
        }
    }
    writeln!(out)
}

fn print_text(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let mut line = |label: &str, value: Option<String>| match value {
        Some(value) => writeln!(out, "{:<14}{}", format!("{label}:"), Printable(&value)),
        None => Ok(()),
    };
    line("name", summary.name.clone())?;
    line("info hash", summary.info_hash.clone())?;
    line("info hash v2", summary.info_hash_v2.clone())?;
    line("size", summary.total_size.map(|bytes| format!("{} ({bytes} bytes)", size(bytes))))?;
    let pieces = summary.pieces.zip(summary.piece_length);
    line("pieces", pieces.map(|(count, len)| format!("{count} of {}", size(len.into()))))?;
    line("private", summary.private.then(|| "yes".to_owned()))?;
    line("comment", summary.comment.clone())?;
    line("created by", summary.created_by.clone())?;
    line("created", summary.creation_date.map(date))?;
    summary.trackers.iter().try_for_each(|url| line("tracker", Some(url.clone())))?;
    summary.web_seeds.iter().try_for_each(|url| line("web seed", Some(url.clone())))?;
    line("magnet", Some(summary.magnet.clone()))?;
    let stored = summary.files.iter().filter(|file| !file.pad);
    line("files", (!summary.files.is_empty()).then(|| stored.clone().count().to_string()))?;
    stored
        .map(|file| (size(file.size), Printable(&file.path)))
        .try_for_each(|(len, path)| writeln!(out, "{len:>12}  {path}"))
}

/// Seconds since 1970 as a date in UTC; years before 0 or after 9999 stay seconds.
fn date(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    if !(-719_468..2_932_897).contains(&days) {
        return format!("{seconds} s");
    }
    // Days since 0000-03-01, in eras of 400 years: with the leap day at the end of the year all months are regular.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn torrent() -> Summary {
        let hash = "h".repeat(20);
        let pad = "d4:attr1:p6:lengthi2e4:pathl1:pee";
        let input = format!(
            "d7:comment8:a\x1b[2J\u{202e}8:url-list8:http://w4:infod5:filesld6:lengthi3e4:pathl1:a1:bee{pad}e4:name3:top\
             12:piece lengthi16384e6:pieces20:{hash}ee"
        );
        Metainfo::parse(input.as_bytes()).unwrap().into()
    }

    fn text(summary: &Summary) -> String {
        let mut out = Vec::new();
        print_text(summary, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_has_the_documented_keys() {
        let mut out = Vec::new();
        print_json(&torrent(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !is_unprintable(c)), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "comment",
                "created_by",
                "creation_date",
                "files",
                "info_hash",
                "info_hash_v2",
                "name",
                "piece_length",
                "pieces",
                "private",
                "total_size",
                "trackers",
                "web_seeds"
            ]
        );
        assert_eq!(value["comment"], "a\u{1b}[2J\u{202e}");
        assert_eq!(value["files"][0], serde_json::json!({ "path": "top/a/b", "size": 3 }));
        assert_eq!(value["files"][1]["pad"], true);
        assert_eq!((&value["total_size"], &value["pieces"]), (&5.into(), &1.into()));
        assert_eq!(value["info_hash_v2"], serde_json::Value::Null);
    }

    #[test]
    fn text_is_escaped_and_leaves_pad_files_out() {
        let text = text(&torrent());
        assert!(text.contains("comment:      a\\u{1b}[2J\\u{202e}\n"), "{text}");
        assert!(text.contains("\nmagnet:       magnet:?xt=urn:btih:"), "{text}");
        assert!(text.contains("files:        1\n") && text.ends_with("  top/a/b\n"), "{text}");
    }

    #[test]
    fn magnets_hashes_and_mistakes_are_told_apart() {
        let summary = |text: &str| super::summary(text);
        let magnet = summary(&format!("magnet:?xt=urn:btih:{HASH}&dn=n&tr=http://t")).unwrap();
        assert_eq!((magnet.name.as_deref(), magnet.info_hash.as_deref()), (Some("n"), Some(HASH)));
        assert_eq!(summary(HASH).unwrap().info_hash.as_deref(), Some(HASH));
        assert!(summary("magnet:?dn=x").unwrap_err().message.contains("no BitTorrent info hash"));
        assert!(summary("/no/such.torrent").unwrap_err().message.contains("/no/such.torrent is neither a file"));
        assert!(summary("Cargo.toml").unwrap_err().message.contains("Cargo.toml: not a torrent file"));
    }

    #[test]
    fn dates_are_right() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(date(-1), "1969-12-31 23:59:59 UTC");
        assert_eq!(date(253_402_300_799), "9999-12-31 23:59:59 UTC");
        assert_eq!(date(i64::MAX), format!("{} s", i64::MAX));
    }
}
