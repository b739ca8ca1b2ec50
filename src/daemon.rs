//! The supervisor: start order, signals, stop order.
