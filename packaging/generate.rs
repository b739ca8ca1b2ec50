//! Writes what packages ship beside the program, made from the definition of the command line, so that it is never out
//! of date: man pages and completions for bash, zsh and fish.
//!
//!     cargo run --example generate FOLDER
//!
//! Nothing of it is in the program itself.

use std::io;
use std::path::{Path, PathBuf};

use clap_complete::{Shell, generate_to};

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    generate(&folder.ok_or_else(|| io::Error::other("which folder is it to be written to?"))?)
}

/// Writes `man/*.1` and `completions/*` below the folder.
pub fn generate(folder: &Path) -> io::Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        std::fs::create_dir_all(folder)?;
    }
    clap_mangen::generate_to(bitween::cli::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut bitween::cli::command(), "bitween", &completions)?;
    }
    Ok(())
}
