//! Tracker announces: the threads that may block on DNS and HTTP.
