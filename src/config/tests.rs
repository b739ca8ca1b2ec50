//! Whole configurations: defaults, errors that name their place, and the example file that must stay complete.

use std::path::Path;

use super::{ByteSize, Config, ConfigError, Overrides, StorageChoice, TlsMode, keys};

const EXAMPLE: &str = include_str!("../../bitween.example.toml");

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_text(text, Some(Path::new("/etc/bitween/config.toml")), &Overrides::default())
}

fn message(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_means_the_documented_defaults() {
    let config = load("").unwrap();
    assert_eq!(config.api.address(), "127.0.0.1:5000".parse().unwrap());
    assert_eq!((config.bittorrent.piece_buffer, config.bittorrent.memory_limit), (None, None));
    assert_eq!(config.bittorrent.bind.len(), 2);
    assert!(config.xmpp.jid.is_none() && config.xmpp.publish_original && !config.xmpp.allow_loopback_peers);
    assert!(config.data_dir.ends_with("bitween") && config.download_dir.ends_with("Downloads"));
}

#[test]
fn the_keys_others_rely_on_are_read() {
    let config = load(
        r#"
        download_dir = "/home/me/Downloads"
        [xmpp]
        jid = "alice@example.org"
        password_file = "secret"
        server = "127.0.0.1:5222"
        tls = "starttls"
        ca_file = "~/ca.pem"
        publish_original = false
        allow_loopback_peers = true
        extra_addresses = ["192.0.2.1", "[2001:db8::1]:6881"]
        [bittorrent]
        port = 51413
        bind = ["0.0.0.0", "[::]"]
        memory_limit = "16MiB"
        piece_buffer = "8MiB"
        storage = "positional"
        [api]
        bind = "localhost"
        port = 0
        token_file = "/t"
        "#,
    )
    .unwrap();
    assert_eq!(config.xmpp.tls, Some(TlsMode::Starttls));
    assert_eq!(config.xmpp.password_file.as_deref(), Some(Path::new("/etc/bitween/secret")));
    assert!(config.xmpp.ca_file.as_ref().is_some_and(|p| p.is_absolute() && p.ends_with("ca.pem")));
    assert_eq!(config.xmpp.extra_addresses.len(), 2);
    assert_eq!(config.bittorrent.storage, StorageChoice::Positional);
    assert_eq!(config.bittorrent.memory_limit, Some(ByteSize(16 << 20)));
    assert_eq!(config.bittorrent.piece_buffer, Some(ByteSize(8 << 20)));
    assert_eq!(config.api.port, 0);
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_likely_meaning() {
    assert_eq!(
        message("[api]\nbind = '::1'\nprot = 1\n"),
        "/etc/bitween/config.toml, line 3: unknown key `api.prot`, did you mean `api.port`?"
    );
    assert!(message("jid = 'a@b'").ends_with("unknown key `jid`, did you mean `jid` in section `[xmpp]`?"));
    assert!(message("\n[xmp]\n").ends_with("line 2: unknown key `xmp`, did you mean `xmpp`?"));
    assert!(message("[api]\nfrobnicate = 1").ends_with("unknown key `api.frobnicate`"));
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_line() {
    assert!(
        message("[bittorrent]\nport = 70000").contains("line 2: `bittorrent.port`: "),
        "{}",
        message("[bittorrent]\nport = 70000")
    );
    assert!(
        message("[bittorrent]\n\npiece_buffer = 'lots'")
            .contains("line 3: `bittorrent.piece_buffer`: \"lots\" is not a size")
    );
    assert!(
        message("[bittorrent]\nmemory_limit = '3MiB'")
            .ends_with("line 2: `bittorrent.memory_limit`: 3MiB is too small to work with; the least is \"4MiB\"")
    );
    assert!(message("[xmpp]\njid = 'alice'").contains("`xmpp.jid`: \"alice\" is not a JID"));
    assert!(message("[xmpp]\ntls = 'ssl'").contains("`xmpp.tls`: unknown variant `ssl`"));
    assert!(message("[bittorrent]\nbind = ['0.0.0.0', 'nowhere']").contains("`bittorrent.bind`: \"nowhere\""));
    assert!(message("download_dir = 5").contains("line 1: `download_dir`: "));
    assert!(message("[api]\nport = 70000").contains("expected a number from 0 to 65535"));
    assert!(message("api = 5").contains("line 1: `api`: "));
}

#[test]
fn broken_toml_is_one_line_with_its_place() {
    let text = message("[xmpp]\njid = 'a\n");
    assert!(text.starts_with("/etc/bitween/config.toml, line 2: ") && !text.contains('\n'), "{text}");
}

#[test]
fn a_wrong_password_is_never_repeated_in_the_error() {
    let text = message("[xmpp]\npassword = 1234567");
    assert!(text.contains("xmpp.password") && !text.contains("1234567"), "{text}");
}

#[test]
fn the_command_line_wins_over_the_file() {
    let overrides = Overrides {
        data_dir: Some("/data".into()),
        bind: Some("::1".parse().unwrap()),
        port: Some(6000),
        ..Overrides::default()
    };
    let config = Config::from_text("data_dir = '/other'\n[api]\nport = 5", None, &overrides).unwrap();
    assert_eq!(config.api.address(), "[::1]:6000".parse().unwrap());
    assert_eq!(config.data_dir, Path::new("/data"));
}

#[test]
fn a_missing_file_is_an_error_only_when_it_was_asked_for() {
    let overrides = Overrides { config: Some("/nowhere/x.toml".into()), ..Overrides::default() };
    let error = Config::load(&overrides).unwrap_err();
    assert_eq!(error.to_string(), "there is no configuration file /nowhere/x.toml");
}

#[test]
fn secrets_that_others_can_read_are_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("pw");
    std::fs::write(&secret, "x").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = load(&format!("[xmpp]\npassword_file = '{}'", secret.display())).unwrap();
    assert_eq!(config.warnings().len(), 1);
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(config.warnings().is_empty());
}

#[test]
fn limits_beyond_what_is_possible_are_warned_about() {
    assert!(load(EXAMPLE).unwrap().warnings().is_empty());
    let config = load("[xmpp]\nmax_shares_per_contact = 1000001\nmax_addresses_per_contact = 33").unwrap();
    let warnings = config.warnings();
    assert!(warnings[0].contains("max_shares_per_contact") && warnings[0].contains("1000000"), "{warnings:?}");
    assert!(warnings[1].contains("max_addresses_per_contact") && warnings[1].contains("32"), "{warnings:?}");
}

#[test]
fn the_example_is_valid_as_it_stands_and_with_every_key_switched_on() {
    let config = load(EXAMPLE).unwrap();
    assert_eq!(config.api.port, 5000);
    load(&uncommented()).unwrap();
}

#[test]
fn the_example_explains_every_key_and_no_other() {
    let text = uncommented();
    let example: toml::Table = text.parse().unwrap();
    for (section, expected) in keys::known() {
        let table = if section.is_empty() { &example } else { example[section].as_table().unwrap() };
        for key in expected {
            assert!(table.contains_key(*key), "bitween.example.toml lacks `{key}` in [{section}]");
        }
        assert_eq!(table.len(), expected.len(), "[{section}]");
    }
}

#[test]
fn the_example_shows_the_real_defaults() {
    let (shown, real) = (load(EXAMPLE).unwrap(), load("").unwrap());
    assert_eq!(format!("{:?}", shown.bittorrent), format!("{:?}", real.bittorrent));
    assert_eq!(format!("{:?}", shown.api), format!("{:?}", real.api));
    assert_eq!(format!("{:?}", shown.xmpp), format!("{:?}", real.xmpp));
    assert_eq!(format!("{:?}", shown.log), format!("{:?}", real.log));
}

/// The example with its "#key = value" lines switched on; prose comments have a space behind the hash.
fn uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}
