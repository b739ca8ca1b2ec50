//! IPv4 addresses that hide inside IPv6 ones. Whoever refuses some of the former must look for them in the latter.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The IPv4 address a router would send to: mapped (RFC 4291), compatible, NAT64 (RFC 6052), 6to4 (RFC 3056).
#[must_use]
pub fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}
