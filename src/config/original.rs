//! Takes over the configuration of the original program (`conf.json` or `~/.bitween.json`).
//!
//! Its keys: `xmpp_account` with `jid` and `password`, `save_path`, `enable_ipv4`, `enable_ipv6`, `enable_upnp`,
//! `enable_natpmp`, `enable_web_api`. Hand-edited files vary, so `jid` and `password` may also stand at the top, and what
//! is not known or not usable is reported, not refused. Nothing in the original's file is changed.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::account::{ACCOUNT_FILE, StoredAccount};
use super::error::ConfigError;
use super::secret::{Secret, write_private};
use super::{Config, read};

/// What the original's file said, in our words.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The account, if the file had a usable JID.
    pub account: Option<StoredAccount>,
    /// `save_path`; relative ones count from the file's folder.
    pub download_dir: Option<PathBuf>,
    /// `enable_ipv4`.
    pub ipv4: Option<bool>,
    /// `enable_ipv6`.
    pub ipv6: Option<bool>,
    /// What was left out and why, one line each.
    pub notes: Vec<String>,
}

impl Imported {
    /// Reads the original's file.
    ///
    /// # Errors
    /// The file is missing, unreadable or no JSON object.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |reason: String| ConfigError::Original { path: path.to_owned(), reason };
        let text = read(path)?.ok_or_else(|| wrong("there is no such file".into()))?;
        // serde_json's errors give the place only, never the content.
        let root: Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let Value::Object(root) = root else { return Err(wrong("it is no JSON object".into())) };
        let folder = std::path::absolute(path).ok().and_then(|p| p.parent().map(Path::to_owned)).unwrap_or_default();
        Ok(Self::from_object(root, &folder))
    }

    fn from_object(mut root: Map<String, Value>, folder: &Path) -> Self {
        let mut import = Self::default();
        if let Some(Value::Object(account)) = root.remove("xmpp_account") {
            // The inner keys join the top: "be tolerant" in one line.
            root.extend(account);
        }
        import.take_account(&mut root);
        if let Some(path) = text(&mut root, &["save_path", "download_dir"]) {
            let home = etcetera::home_dir().ok();
            let in_home = path.strip_prefix("~/").zip(home).map(|(rest, home)| home.join(rest));
            import.download_dir = Some(in_home.unwrap_or_else(|| folder.join(path)));
        }
        import.ipv4 = root.remove("enable_ipv4").and_then(|v| v.as_bool());
        import.ipv6 = root.remove("enable_ipv6").and_then(|v| v.as_bool());
        if root.remove("enable_web_api") == Some(Value::Bool(false)) {
            import.notes.push("enable_web_api = false is ignored: the command line needs the interface".into());
        }
        for key in ["enable_upnp", "enable_natpmp"] {
            if root.remove(key) == Some(Value::Bool(true)) {
                import.notes.push(format!("{key} is ignored: ports are not mapped on the router yet"));
            }
        }
        for key in root.keys() {
            import.notes.push(format!("{key:?} is not known and ignored"));
        }
        import
    }

    fn take_account(&mut self, root: &mut Map<String, Value>) {
        let password = text(root, &["password", "pw"]).map(Secret::new);
        let Some(jid) = text(root, &["jid", "username", "user"]) else { return };
        match jid.parse() {
            Ok(jid) => self.account = Some(StoredAccount { jid: Some(jid), password, ..StoredAccount::default() }),
            Err(reason) => self.notes.push(format!("the account is left out: {reason}")),
        }
    }

    /// Puts what was read into force and keeps it for the next start: the account in `account.toml`, the rest in a new
    /// configuration file if there is none yet. A configuration file that exists is neither changed nor overruled.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn apply(&self, config: &mut Config) -> Result<Vec<String>, ConfigError> {
        let mut notes = self.notes.clone();
        match &self.account {
            Some(_)
                if config.data_dir.join(ACCOUNT_FILE).exists()
                    || config.xmpp_sections().any(|section| section.jid.is_some()) =>
            {
                notes.push("the account is left out: there is one already (see `bitween account show`)".into());
            }
            Some(account) => config.store_account(account)?,
            None => {}
        }
        if let Some(file) = &config.file {
            notes.push(format!("{} exists, so only the account was taken over", file.display()));
            return Ok(notes);
        }
        if let Some(dir) = &self.download_dir {
            config.download_dir.clone_from(dir);
        }
        config.bittorrent.ipv4 = self.ipv4.unwrap_or(config.bittorrent.ipv4);
        config.bittorrent.ipv6 = self.ipv6.unwrap_or(config.bittorrent.ipv6);
        if let Some(path) = Config::default_file() {
            write_private(&path, self.to_toml().as_bytes())?;
            notes.push(format!("wrote {}", path.display()));
            config.file = Some(path);
        }
        Ok(notes)
    }

    fn to_toml(&self) -> String {
        let mut text = String::from("# Taken over from the original program. All keys: see bitween.example.toml.\n");
        if let Some(dir) = self.download_dir.as_ref().and_then(|dir| dir.to_str()) {
            text += &format!("download_dir = {}\n", toml::Value::from(dir));
        }
        text += "\n[bittorrent]\n";
        for (key, value) in [("ipv4", self.ipv4), ("ipv6", self.ipv6)] {
            if let Some(value) = value {
                text += &format!("{key} = {value}\n");
            }
        }
        text
    }
}

/// Takes the first of `keys` that holds a text which is not empty.
fn text(root: &mut Map<String, Value>, keys: &[&str]) -> Option<String> {
    keys.iter().filter_map(|key| root.remove(*key)).find_map(|value| match value {
        Value::String(text) if !text.trim().is_empty() => Some(text),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    const ORIGINAL: &str = r#"{"xmpp_account": {"jid": "user@domain", "password": "pw"}, "save_path": "share",
        "enable_web_api": true, "enable_ipv4": true, "enable_ipv6": false, "enable_upnp": true, "enable_natpmp": false,
        "colour": "blue"}"#;

    #[test]
    fn every_key_of_the_original_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("conf.json");
        std::fs::write(&file, ORIGINAL).unwrap();
        let import = Imported::from_file(&file).unwrap();
        let account = import.account.clone().unwrap();
        assert_eq!(account.jid.unwrap().as_str(), "user@domain");
        assert_eq!(account.password.unwrap().expose(), "pw");
        assert_eq!(import.download_dir, Some(dir.path().join("share")));
        assert_eq!((import.ipv4, import.ipv6), (Some(true), Some(false)));
        assert_eq!(import.notes.len(), 2, "{:?}", import.notes);
        let reread = Config::from_text(&import.to_toml(), None, &Overrides::default()).unwrap();
        assert!(!reread.bittorrent.ipv6);
        assert_eq!(reread.download_dir, dir.path().join("share"));
    }

    #[test]
    fn the_account_may_stand_at_the_top_and_a_bad_one_is_a_note() {
        let object = |text: &str| match serde_json::from_str(text).unwrap() {
            Value::Object(map) => map,
            _ => unreachable!(),
        };
        let import = Imported::from_object(object(r#"{"jid": "a@b/c", "password": ""}"#), Path::new("/x"));
        assert!(import.account.unwrap().password.is_none());
        let import = Imported::from_object(object(r#"{"jid": "nonsense", "save_path": 5}"#), Path::new("/x"));
        assert!(import.account.is_none() && import.notes.len() == 1);
    }

    #[test]
    fn an_existing_configuration_wins() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let overrides = Overrides { data_dir: Some(dir.path().to_owned()), ..Overrides::default() };
        let mut config = Config::from_text("download_dir = '/mine'", Some(&file), &overrides).unwrap();
        let import = Imported::from_object(
            serde_json::from_str(r#"{"jid": "a@b", "password": "x", "save_path": "/theirs"}"#).unwrap(),
            Path::new("/"),
        );
        import.apply(&mut config).unwrap();
        assert_eq!(config.download_dir, Path::new("/mine"));
        assert_eq!(config.accounts().unwrap()[0].jid.as_str(), "a@b");
    }

    #[test]
    fn a_file_that_is_no_object_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("conf.json");
        for (content, part) in [("[1]", "no JSON object"), ("{", "line 1"), ("", "EOF")] {
            std::fs::write(&file, content).unwrap();
            let error = Imported::from_file(&file).unwrap_err().to_string();
            assert!(error.contains("conf.json") && error.contains(part), "{error}");
        }
    }
}
