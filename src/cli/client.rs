//! Finds the running daemon and calls it: JSON-RPC over HTTP.
//!
//! Where it is, best first: `--api URL`; the note it left in the data folder (`daemon.json`, also for any port); `bind`
//! and `port` of the configuration, unless `--data-dir` was given: a folder without a note has no daemon, and asking
//! whoever else listens on the usual port would be asking the wrong one.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::CliError;
use crate::config::{Config, DaemonFile, Overrides, Secret};
use crate::proto::http::{SERVER, jsonrpc};
use crate::types::Printable;

/// How long a call may take: longer than the daemon lets any of its own threads take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 256 << 20;

/// How to find the daemon; every command that asks it takes these.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Finding the daemon")]
pub struct ConnectArgs {
    /// Address of the daemon's interface, such as http://127.0.0.1:5000
    #[arg(long, global = true, value_name = "URL")]
    pub api: Option<String>,
    /// File with the interface's token [default: as the configuration says]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Configuration file [default: ~/.config/bitween/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's data folder [default: ~/.local/share/bitween]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl ConnectArgs {
    /// The configuration these arguments name.
    ///
    /// # Errors
    /// It cannot be read or is wrong.
    pub fn config(&self) -> Result<Config, CliError> {
        let overrides =
            Overrides { config: self.config.clone(), data_dir: self.data_dir.clone(), ..Overrides::default() };
        Ok(Config::load(&overrides)?)
    }
}

/// How to find the daemon, and how its answer is printed: the options of every command that prints a list.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the daemon is
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// How to find the daemon, and the torrent that a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct TorrentArgs {
    /// Its hash or enough of the first digits, its name, or a part of the name that no other has
    #[arg(value_name = "HASH|NAME")]
    pub hash: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the daemon is
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// A daemon that can be called.
#[derive(Debug)]
pub struct Client {
    url: String,
    token: Option<Secret>,
    agent: ureq::Agent,
}

impl Client {
    /// Finds the daemon. Nothing is sent yet.
    ///
    /// # Errors
    /// Wrong URL or configuration (2), no daemon on the data folder (3).
    pub fn find(args: &ConnectArgs) -> Result<Self, CliError> {
        let (url, token_file) = match &args.api {
            Some(url) => (url.clone(), None),
            None => locate(args)?,
        };
        let token_file = args.token_file.clone().or(token_file);
        let token = token_file.as_deref().map(Secret::from_file).transpose()?;
        let base = url.trim().trim_end_matches('/');
        if !base.starts_with("http://") {
            return Err(CliError::usage(format_args!(
                "{:?} is not an address of the interface; it begins with http://",
                url
            )));
        }
        let url = if base.ends_with("/api") { base.to_owned() } else { format!("{base}/api") };
        let agent = ureq::Agent::config_builder()
            // The daemon is meant, nobody in between.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(CALL_TIMEOUT))
            .user_agent(concat!("bitween/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { url, token, agent })
    }

    /// Calls a method with named parameters; null ones count as not given.
    ///
    /// # Errors
    /// No daemon reached (3); it refused or failed (1).
    pub fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, CliError> {
        serde_json::from_value(self.ask(method, &params)?).map_err(|error| self.other_version(&error))
    }

    fn other_version(&self, error: &serde_json::Error) -> CliError {
        CliError::failed(format_args!("the daemon at {} is of another version: {error}", self.url))
    }

    /// All of a call that is the same for every type of result.
    fn ask(&self, method: &str, params: &Value) -> Result<Value, CliError> {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        let mut response = request.send(jsonrpc::request(1, method, params)).map_err(|e| self.unreachable(&e))?;
        let status = response.status().as_u16();
        if response.headers().get("server").is_none_or(|server| server.as_bytes() != SERVER.as_bytes()) {
            let url = self.url.trim_end_matches("/api");
            let text = format_args!(
                "another program listens at {url} (it answered {status}), no bitween daemon; name the daemon's address \
                 with --api, or start it with another `port`"
            );
            return Err(CliError::no_daemon(text));
        }
        let body =
            response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(|e| self.unreachable(&e))?;
        if status != 200 {
            let text = String::from_utf8_lossy(&body);
            let text = text.trim().chars().take(500).collect::<String>();
            return Err(CliError::failed(format_args!("{} answered {status}: {}", self.url, Printable(&text))));
        }
        let answer = jsonrpc::parse_answer(&body).map_err(|error| self.other_version(&error))?;
        answer.map_err(|error| CliError::failed(Printable(&error.message)))
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        let url = self.url.trim_end_matches("/api");
        let reason = match error {
            // It was reached, so another one is not to be started.
            ureq::Error::Timeout(when) if !matches!(when, ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                let limit = CALL_TIMEOUT.as_secs();
                let text = format_args!("the daemon at {url} did not answer within {limit} seconds; see its log");
                return CliError::failed(text);
            }
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                "nobody listens there".to_owned()
            }
            other => other.to_string(),
        };
        CliError::no_daemon(format_args!("no daemon reached at {url} ({reason}); start it with `bitween daemon`"))
    }
}

fn locate(args: &ConnectArgs) -> Result<(String, Option<PathBuf>), CliError> {
    let config = args.config()?;
    if let Some(note) = DaemonFile::read(&config.data_dir)? {
        return Ok((note.api_url, note.token_file));
    }
    if args.data_dir.is_some() {
        let text =
            format!("no daemon runs on {}; start it with `bitween daemon --data-dir`", config.data_dir.display());
        return Err(CliError::no_daemon(text));
    }
    if config.api.port == 0 {
        return Err(CliError::no_daemon("no daemon is running; start it with `bitween daemon`"));
    }
    let mut address = config.api.address();
    if address.ip().is_unspecified() {
        // Listening on all addresses includes this one.
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok((format!("http://{address}"), config.api.token_file.filter(|path| path.exists())))
}
