//! `debug!` and `trace!` of this crate (layer 0): as those of `log`, but always there.
//!
//! The logger shows nothing below "info" of the libraries that this crate stands on, so the program is built without what
//! they would say there (`log`'s `release_max_level_info`, by the feature `cli`). That would silence the crate itself too;
//! these macros ask only which level is wanted now. Records from "info" on are made with the macros of `log`.

use std::fmt::Arguments;

use log::{Level, Record};

macro_rules! say {
    ($level:ident, $target:expr, $($message:tt)+) => {
        if ::log::max_level() >= ::log::LevelFilter::$level {
            $crate::chatter::say(::log::Level::$level, $target, ::std::format_args!($($message)+));
        }
    };
}

/// What somebody wants to know who looks for a fault.
macro_rules! debug {
    (target: $target:expr, $($message:tt)+) => { say!(Debug, $target, $($message)+) };
    ($($message:tt)+) => { say!(Debug, ::std::module_path!(), $($message)+) };
}

/// Every single message.
#[cfg(feature = "xmpp")]
macro_rules! trace {
    (target: $target:expr, $($message:tt)+) => { say!(Trace, $target, $($message)+) };
}

/// A record whose level turns out when it is made.
macro_rules! record {
    ($level:expr, $($message:tt)+) => {{
        let level: ::log::Level = $level;
        if ::log::max_level() >= level {
            $crate::chatter::say(level, ::std::module_path!(), ::std::format_args!($($message)+));
        }
    }};
}

/// Whether such a record would be shown: for what is dear to make.
#[cfg(feature = "xmpp")]
pub(crate) fn is_heard(level: Level, target: &str) -> bool {
    log::max_level() >= level && log::logger().enabled(&log::Metadata::builder().level(level).target(target).build())
}

/// Hands a record to the logger, whatever the level that `log` was built with.
#[cold]
pub(crate) fn say(level: Level, target: &str, message: Arguments<'_>) {
    log::logger().log(&Record::builder().level(level).target(target).module_path(Some(target)).args(message).build());
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use log::{LevelFilter, Log, Metadata};

    use super::*;

    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Listener;

    impl Log for Listener {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            HEARD.lock().unwrap().push(format!("{} {}: {}", record.level(), record.target(), record.args()));
        }

        fn flush(&self) {}
    }

    #[test]
    fn a_record_is_heard_when_its_level_is_wanted() {
        log::set_logger(&Listener).unwrap();
        log::set_max_level(LevelFilter::Debug);
        let sum = 3;
        debug!("one and two are {sum}");
        debug!(target: "elsewhere", "{}", 5);
        record!(Level::Debug, "{sum} again");
        record!(Level::Trace, "too much");
        let heard = HEARD.lock().unwrap();
        let own: Vec<&str> = heard.iter().map(String::as_str).filter(|line| !line.contains("too much")).collect();
        assert!(own.contains(&"DEBUG bitween::chatter::tests: one and two are 3"), "{heard:?}");
        assert!(own.contains(&"DEBUG elsewhere: 5"), "{heard:?}");
        assert!(own.contains(&"DEBUG bitween::chatter::tests: 3 again"), "{heard:?}");
        assert_eq!(own.len(), heard.len());
    }
}
