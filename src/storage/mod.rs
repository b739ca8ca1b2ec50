//! Disks and memory (layer 2).
