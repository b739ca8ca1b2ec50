//! The publish/subscribe bus and the scheduler (layer 1).
