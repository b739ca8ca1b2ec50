//! Tracker requests and replies (BEP 3, 7, 15, 23).
