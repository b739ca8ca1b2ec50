//! Decisions about torrents (layer 2): pure, events in, commands out.
