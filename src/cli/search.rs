//! `bitween search`: looks for words in the names of contacts' shares.

use serde_json::json;

use super::client::{Client, ListArgs};
use super::error::CliError;
use super::shares::{PageArgs, say_why, show};

/// Rows that are shown unless the user says how many.
const USUAL_ROWS: u64 = 1000;

/// Search what contacts share
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  bitween search holiday 2026\n  bitween search --json flac")]
pub struct Args {
    /// Words that the name holds, in any order and case
    #[arg(required = true, value_name = "TERM")]
    terms: Vec<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    list: ListArgs,
}

/// Searches; finding nothing is no failure.
///
/// # Errors
/// No daemon.
pub fn run(args: &Args) -> Result<(), CliError> {
    let client = Client::find(&args.list.connect)?;
    let term = args.terms.join(" ");
    let params = |limit, offset| json!({"term": term, "limit": limit, "offset": offset});
    let found = args.page.fetch(&client, "xmpp.search", USUAL_ROWS, &params)?;
    show(&found.shares, args.list.json, "nothing found")?;
    args.page.tell_rest(&found);
    if found.shares.is_empty() && !args.list.json { say_why(&client) } else { Ok(()) }
}
