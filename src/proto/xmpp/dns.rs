//! Which hosts serve a domain: SRV queries and answers (RFC 2782, RFC 6120 section 3.2, XEP-0368). Pure.
//!
//! Makes the bytes of a query, reads the bytes of an answer, and turns the answers for STARTTLS and direct TLS into one
//! list of endpoints in the order to try. Sending is `component/xmpp/resolve.rs`; addresses of hosts are asked of the
//! operating system.

mod wire;

use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

use super::stream::Tls;
use crate::types::sort_by;

/// Records used of one answer, and endpoints tried for one domain.
const MAX_RECORDS: usize = 16;
/// The name server's code for a name that nobody has.
const NO_SUCH_NAME: u16 = 3;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name or IP address (without brackets).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How to encrypt there.
    pub tls: Tls,
}

impl Endpoint {
    /// Reads `host`, `host:port`, `[ipv6]` or `[ipv6]:port`. Without `tls` the port tells how to encrypt: direct TLS on
    /// the usual ports of it, STARTTLS on all others.
    #[must_use]
    pub fn read(text: &str, tls: Option<Tls>) -> Option<Self> {
        let bare_ipv6 = text.parse::<Ipv6Addr>().is_ok();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !bare_ipv6 && !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(|character: char| character.is_whitespace() || character == '/') {
            return None;
        }
        let guessed = if matches!(port, Some(5223 | 443)) { Tls::Direct } else { Tls::StartTls };
        let tls = tls.unwrap_or(guessed);
        Some(Self { host: host.to_owned(), port: port.unwrap_or_else(|| default_port(tls)), tls })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Lower is tried first.
    pub priority: u16,
    /// Share of the tries among records of one priority.
    pub weight: u16,
    /// TCP port.
    pub port: u16,
    /// Host name, without the trailing dot.
    pub target: String,
}

/// What a name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The records; never empty.
    Records(Vec<Record>),
    /// There is no such record: use the default port of the domain itself.
    None,
    /// The target is `.`: the domain says that it does not offer this service.
    NotOffered,
    /// Too long for a datagram: ask again over TCP.
    Truncated,
}

/// Why there is no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsError {
    /// The name cannot be asked for.
    #[error("'{0}' is no valid domain name")]
    BadName(String),
    /// The answer is broken.
    #[error("the name server's answer is malformed")]
    Malformed,
    /// The answer belongs to another question. With UDP: keep waiting for the right one.
    #[error("the name server answered another question")]
    Unrelated,
    /// The name server could not or would not answer.
    #[error("the name server failed ({0})")]
    Server(String),
    /// Neither STARTTLS nor direct TLS is offered by the domain.
    #[error("the domain says that it has no XMPP service")]
    NotOffered,
}

/// The name whose SRV records list the servers of `domain` (already in ASCII form).
pub fn service(domain: &str, tls: Tls) -> String {
    match tls {
        Tls::StartTls => format!("_xmpp-client._tcp.{domain}"),
        Tls::Direct => format!("_xmpps-client._tcp.{domain}"),
    }
}

/// The bytes of an SRV query. `id` must be random.
///
/// # Errors
/// [`DnsError::BadName`].
pub fn query(id: u16, name: &str) -> Result<Vec<u8>, DnsError> {
    wire::query(id, name).ok_or_else(|| DnsError::BadName(name.to_owned()))
}

/// Reads the answer to [`query`] with the same arguments.
///
/// # Errors
/// [`DnsError`]; after [`DnsError::Unrelated`] the right answer may still come.
pub fn answer(message: &[u8], id: u16, name: &str) -> Result<Answer, DnsError> {
    let Some(packet) = wire::parse(message) else {
        // Some servers cut a long answer in the middle of a record. The flag is all that counts then.
        let ours = message.starts_with(&id.to_be_bytes()) && message.get(2).is_some_and(|flags| flags & 0x82 == 0x82);
        return if ours { Ok(Answer::Truncated) } else { Err(DnsError::Malformed) };
    };
    let asked = packet.question.as_ref();
    let same_name = asked.is_some_and(|asked| asked.eq_ignore_ascii_case(name.trim_end_matches('.')));
    if packet.id != id || !packet.is_response() || !same_name {
        return Err(DnsError::Unrelated);
    }
    if packet.is_truncated() {
        return Ok(Answer::Truncated);
    }
    match packet.rcode() {
        0 => {}
        NO_SUCH_NAME => return Ok(Answer::None),
        other => return Err(DnsError::Server(problem(other))),
    }
    let mut records = Vec::new();
    let mut not_offered = false;
    for wire::Service { priority, weight, port, target } in packet.services {
        if target.is_empty() {
            not_offered = true;
        } else if is_host_name(&target) && port != 0 && records.len() < MAX_RECORDS {
            records.push(Record { priority, weight, port, target });
        }
    }
    Ok(match (records.is_empty(), not_offered) {
        (false, _) => Answer::Records(records),
        (true, true) => Answer::NotOffered,
        (true, false) => Answer::None,
    })
}

/// What a code of RFC 1035 section 4.1.1 says.
fn problem(rcode: u16) -> String {
    match rcode {
        1 => "it could not read the question".to_owned(),
        2 => "server failure".to_owned(),
        4 => "not implemented".to_owned(),
        5 => "refused".to_owned(),
        other => format!("code {other}"),
    }
}

/// The endpoints to try, in order. `answers` holds what was found for each kind of TLS that may be used; records of
/// both kinds are one set (XEP-0368 section 2).
///
/// # Errors
/// [`DnsError::NotOffered`] if the domain rules the service out.
pub fn endpoints(
    domain: &str,
    answers: &[(Tls, Answer)],
    random: &mut fastrand::Rng,
) -> Result<Vec<Endpoint>, DnsError> {
    let mut records: Vec<(Tls, &Record)> = Vec::new();
    for (tls, answer) in answers {
        if let Answer::Records(found) = answer {
            records.extend(found.iter().map(|record| (*tls, record)));
        }
    }
    if !records.is_empty() {
        return Ok(by_priority_and_weight(records, random));
    }
    // Without records the host is the domain itself; STARTTLS is what a server has there, if not ruled out.
    let fallback = answers.iter().filter(|(_, answer)| *answer != Answer::NotOffered).map(|(tls, _)| *tls);
    match fallback.min_by_key(|tls| *tls == Tls::Direct) {
        Some(Tls::Direct) if answers.len() > 1 => Err(DnsError::NotOffered),
        Some(tls) => Ok(vec![Endpoint { host: domain.to_owned(), port: default_port(tls), tls }]),
        None => Err(DnsError::NotOffered),
    }
}

/// The port used when nothing says otherwise.
pub const fn default_port(tls: Tls) -> u16 {
    match tls {
        Tls::StartTls => 5222,
        Tls::Direct => 5223,
    }
}

/// The name servers of a `resolv.conf`, at most three as in the C library; localhost if it names none.
pub fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let addresses = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
    });
    let mut servers: Vec<IpAddr> = addresses.take(3).collect();
    if servers.is_empty() {
        servers.push(IpAddr::from([127, 0, 0, 1]));
    }
    servers
}

/// RFC 2782: priorities in order; within one, repeatedly one picked with a chance that follows its weight.
fn by_priority_and_weight(mut records: Vec<(Tls, &Record)>, random: &mut fastrand::Rng) -> Vec<Endpoint> {
    let mut ordered = Vec::with_capacity(records.len());
    sort_by(&mut records, |(_, a), (_, b)| (a.priority, a.weight).cmp(&(b.priority, b.weight)));
    while let Some(priority) = records.first().map(|(_, record)| record.priority) {
        let group = records.iter().take_while(|(_, record)| record.priority == priority);
        let total: u32 = group.clone().map(|(_, record)| u32::from(record.weight)).sum();
        let mut pick = random.u32(0..=total);
        let index = group.clone().position(|(_, record)| {
            let weight = u32::from(record.weight);
            let hit = pick <= weight;
            pick = pick.saturating_sub(weight);
            hit
        });
        let (tls, record) = records.remove(index.unwrap_or(0));
        ordered.push(Endpoint { host: record.target.clone(), port: record.port, tls });
    }
    ordered.truncate(MAX_RECORDS);
    ordered
}

/// Foreign names end up in log lines and look-ups: letters, digits, hyphen, underscore and dots only.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use simple_dns::rdata::{RData, SRV};
    use simple_dns::{CLASS, Name, Packet, QTYPE, Question, ResourceRecord, TYPE};

    use super::*;

    const NAME: &str = "_xmpp-client._tcp.example.org";

    fn reply(id: u16, name: &str, records: &[(u16, u16, u16, &str)]) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        let name = Name::new(name).unwrap();
        packet.questions.push(Question::new(name.clone(), QTYPE::TYPE(TYPE::SRV), CLASS::IN.into(), false));
        for &(priority, weight, port, target) in records {
            let data = RData::SRV(SRV { priority, weight, port, target: Name::new(target).unwrap() });
            packet.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, data));
        }
        packet.build_bytes_vec().unwrap()
    }

    fn record(priority: u16, weight: u16, target: &str) -> Record {
        Record { priority, weight, port: 5222, target: target.into() }
    }

    fn hosts(endpoints: &[Endpoint]) -> Vec<&str> {
        endpoints.iter().map(|endpoint| endpoint.host.as_str()).collect()
    }

    #[test]
    fn a_query_asks_for_exactly_the_srv_records() {
        let bytes = query(0x1234, NAME).unwrap();
        assert_eq!(&bytes[..12], [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[12..26], b"\x0c_xmpp-client\x04");
        assert_eq!(&bytes[bytes.len() - 4..], [0, 33, 0, 1]);
        for bad in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(128)] {
            assert!(matches!(query(1, bad), Err(DnsError::BadName(_))), "{bad}");
        }
        let theirs = Packet::parse(&bytes).unwrap();
        assert_eq!(theirs.questions[0].qname.to_string(), NAME);
    }

    #[test]
    fn records_are_read_and_odd_ones_dropped() {
        let message = reply(7, NAME, &[(5, 1, 5222, "a.example.org"), (5, 1, 0, "zero.port"), (5, 1, 1, "b\\032ad")]);
        let expected = Record { priority: 5, weight: 1, port: 5222, target: "a.example.org".into() };
        assert_eq!(answer(&message, 7, NAME), Ok(Answer::Records(vec![expected])));
        assert!(answer(&message, 7, "_XMPP-client._tcp.Example.ORG.").is_ok());
    }

    #[test]
    fn a_target_of_a_single_dot_means_no_service() {
        assert_eq!(answer(&reply(7, NAME, &[(0, 0, 0, ".")]), 7, NAME), Ok(Answer::NotOffered));
        assert_eq!(answer(&reply(7, NAME, &[]), 7, NAME), Ok(Answer::None));
    }

    #[test]
    fn answers_to_other_questions_are_not_taken() {
        assert_eq!(answer(&reply(8, NAME, &[]), 7, NAME), Err(DnsError::Unrelated));
        assert_eq!(answer(&reply(7, "evil.example", &[]), 7, NAME), Err(DnsError::Unrelated));
        assert_eq!(answer(&query(7, NAME).unwrap(), 7, NAME), Err(DnsError::Unrelated));
        assert_eq!(answer(b"\0\x07garbage", 7, NAME), Err(DnsError::Malformed));
        assert_eq!(answer(b"", 7, NAME), Err(DnsError::Malformed));
    }

    #[test]
    fn names_that_point_at_one_another_are_read_and_circles_are_not() {
        let full = reply(7, NAME, &[(0, 0, 1, "a.example.org"), (0, 0, 2, "b.example.org")]);
        let mut packet = Packet::parse(&full).unwrap();
        assert_eq!(answer(&packet.build_bytes_vec_compressed().unwrap(), 7, NAME), answer(&full, 7, NAME));
        packet.answers.clear();
        // One record whose name is: itself, a label and then itself, nothing but a pointer to the end.
        let end = u8::try_from(packet.build_bytes_vec().unwrap().len()).unwrap();
        for name in [&[0xc0, end][..], &[1, b'a', 0xc0, end], &[0xc0, 255], &[0x80], &[63]] {
            let mut bytes = packet.build_bytes_vec().unwrap();
            bytes[7] = 1;
            bytes.extend_from_slice(name);
            bytes.extend([0; 10]);
            assert_eq!(answer(&bytes, 7, NAME), Err(DnsError::Malformed), "{name:?}");
        }
    }

    #[test]
    fn truncation_and_server_failures_are_seen() {
        let mut message = reply(7, NAME, &[(0, 0, 1, "a.example.org")]);
        message[2] |= 2;
        assert_eq!(answer(&message, 7, NAME), Ok(Answer::Truncated));
        assert_eq!(answer(&message[..message.len() - 3], 7, NAME), Ok(Answer::Truncated));
        let mut message = reply(7, NAME, &[]);
        message[3] |= 3;
        assert_eq!(answer(&message, 7, NAME), Ok(Answer::None));
        message[3] = 2;
        assert_eq!(answer(&message, 7, NAME), Err(DnsError::Server("server failure".to_owned())));
    }

    #[test]
    fn priority_decides_first_then_weight_by_chance() {
        let records =
            vec![record(20, 0, "last"), record(10, 90, "heavy"), record(10, 10, "light"), record(10, 0, "zero")];
        let answers = [(Tls::StartTls, Answer::Records(records))];
        let mut heavy_first = 0;
        for seed in 0..1000 {
            let found = endpoints("x", &answers, &mut fastrand::Rng::with_seed(seed)).unwrap();
            assert_eq!(found.len(), 4);
            assert_eq!(found[3].host, "last");
            heavy_first += usize::from(found[0].host == "heavy");
        }
        assert!((800..980).contains(&heavy_first), "{heavy_first}");
    }

    #[test]
    fn both_kinds_of_tls_are_one_set() {
        let answers = [
            (Tls::Direct, Answer::Records(vec![record(20, 1, "direct")])),
            (Tls::StartTls, Answer::Records(vec![record(10, 1, "starttls")])),
        ];
        let found = endpoints("x", &answers, &mut fastrand::Rng::with_seed(1)).unwrap();
        assert_eq!(hosts(&found), ["starttls", "direct"]);
        assert_eq!(found[1].tls, Tls::Direct);
    }

    #[test]
    fn without_records_the_domain_itself_is_tried_unless_ruled_out() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut of = |answers: &[(Tls, Answer)]| endpoints("example.org", answers, &mut random);
        let fallback = Endpoint { host: "example.org".into(), port: 5222, tls: Tls::StartTls };
        let both = |direct, starttls| [(Tls::Direct, direct), (Tls::StartTls, starttls)];
        assert_eq!(of(&both(Answer::None, Answer::None)), Ok(vec![fallback.clone()]));
        assert_eq!(of(&both(Answer::NotOffered, Answer::None)), Ok(vec![fallback]));
        assert_eq!(of(&both(Answer::None, Answer::NotOffered)), Err(DnsError::NotOffered));
        assert_eq!(of(&both(Answer::NotOffered, Answer::NotOffered)), Err(DnsError::NotOffered));
        assert_eq!(of(&[(Tls::Direct, Answer::None)]).unwrap()[0].port, 5223);
    }

    #[test]
    fn name_servers_are_read_like_the_c_library_does() {
        let text = "# nameserver 9.9.9.9\nnameserver 10.0.0.1\nsearch x\nnameserver\tfd00::1 \nnameserver x\n\
                    nameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!(name_servers(text).len(), 3);
        assert_eq!(name_servers(text)[1].to_string(), "fd00::1");
        assert_eq!(name_servers(""), [IpAddr::from([127, 0, 0, 1])]);
    }

    proptest::proptest! {
        #[test]
        fn what_another_library_says_is_read_alike(
            said in proptest::collection::vec((0_u16.., 0_u16.., 1_u16.., "[a-z0-9-]{1,20}(\\.[a-z0-9-]{1,63}){0,3}"), 1..MAX_RECORDS),
            compressed in proptest::bool::ANY,
        ) {
            let rows: Vec<_> = said.iter().map(|(a, b, c, target)| (*a, *b, *c, target.as_str())).collect();
            let mut message = reply(7, NAME, &rows);
            if compressed {
                message = Packet::parse(&message).unwrap().build_bytes_vec_compressed().unwrap();
            }
            let record = |(priority, weight, port, target): (u16, u16, u16, String)| Record { priority, weight, port, target };
            proptest::prop_assert_eq!(answer(&message, 7, NAME), Ok(Answer::Records(said.into_iter().map(record).collect())));
        }

        #[test]
        fn arbitrary_answers_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
            let _ = answer(&bytes, 7, NAME);
        }
    }
}
