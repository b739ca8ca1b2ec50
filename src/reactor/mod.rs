//! The one mio loop (layer 3).
