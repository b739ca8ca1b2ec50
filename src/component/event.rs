//! Everything said on the bus, on one page.
