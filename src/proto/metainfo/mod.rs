//! Torrent files and magnet links.
