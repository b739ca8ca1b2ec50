//! One HTTP connection as a small state machine: reading, working, writing, lingering.
//!
//! Owned by the `rpc` thread. Never blocks: [`Connection::advance`] does what the socket allows now, of a long answer no
//! more than a part, and says what the server has to do next. While a call is being worked on or written out, nothing more
//! is read, so what a client can make us hold is bounded. Each phase has its own deadline; a slow client costs a slot,
//! never a thread.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::proto::http::{Body, Limits, Method, Request, RequestError, RequestReader, Response};

use super::super::access::Caller;
use super::guard::Guard;
use super::routes;

/// Bytes taken from the socket at a time.
const READ_LEN: usize = 16 << 10;
/// Bytes of an answer that are made at a time. Long answers are made as fast as their client takes them.
const WRITE_LEN: usize = 32 << 10;
/// Bytes of an answer that are made in one turn, about: then others come first, however fast this client is.
const TURN_LEN: usize = 256 << 10;
/// Bytes that are thrown away after a refused request, so that the client can read why before the connection is reset.
const MAX_DISCARDED: usize = 4 << 20;
/// How long a client has to take note of a refusal.
const LINGER: Duration = Duration::from_secs(2);

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From a request's first byte to its last.
    pub request: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For taking an answer.
    pub write: Duration,
}

impl Default for Timing {
    /// 15 s for a request, 60 s between two, 60 s for an answer.
    fn default() -> Self {
        Self { request: Duration::from_secs(15), idle: Duration::from_secs(60), write: Duration::from_secs(60) }
    }
}

/// What the server has to do next.
pub(super) enum Progress {
    /// Nothing until the socket is ready again.
    Wait,
    /// Call [`Connection::advance`] again when all others had their turn: the socket would take more.
    GoOn,
    /// Answer this request, then call [`Connection::respond`].
    Request(Box<Admitted>),
    /// Drop the connection.
    Close,
}

/// A request that may be made.
pub(super) struct Admitted {
    pub(super) request: Request,
    /// Who makes it; nobody in particular where everybody may look.
    pub(super) caller: Option<Caller>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    Working,
    Writing,
    Lingering,
}

pub(super) struct Connection {
    /// For the poll's registration.
    pub(super) stream: TcpStream,
    /// Told apart from the one that had this slot before.
    pub(super) generation: u64,
    /// The address of the client.
    from: Option<IpAddr>,
    timing: Timing,
    guard: Arc<Guard>,
    limits: Limits,
    reader: RequestReader,
    /// Who makes the request that is coming in.
    caller: Option<Caller>,
    /// Bytes of the request that is worked on.
    working: usize,
    phase: Phase,
    deadline: Option<Instant>,
    /// When the present phase began.
    since: Instant,
    /// What is being sent, and how much of it was.
    out: Vec<u8>,
    sent: usize,
    /// What comes after it.
    body: Body,
    discarded: usize,
    keep_alive: bool,
    head_only: bool,
}

impl Connection {
    pub(super) fn new(
        now: Instant,
        stream: TcpStream,
        generation: u64,
        guard: Arc<Guard>,
        limits: Limits,
        timing: Timing,
    ) -> Self {
        Self {
            from: stream.peer_addr().ok().map(|address| address.ip()),
            stream,
            generation,
            timing,
            guard,
            limits,
            reader: RequestReader::new(limits),
            caller: None,
            working: 0,
            phase: Phase::Reading,
            // A connection that says nothing at all is not worth the idle time.
            deadline: Some(now + timing.request),
            since: now,
            out: Vec::new(),
            sent: 0,
            body: Body::default(),
            discarded: 0,
            keep_alive: true,
            head_only: false,
        }
    }

    /// The address the client reached.
    fn local_ip(&self) -> IpAddr {
        self.stream.local_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
    }

    /// When the present phase is over at the latest; `None` while a call is worked on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Since when it waits for the client to send something; `None` if the client waits for us.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        matches!(self.phase, Phase::Reading | Phase::Lingering).then_some(self.since)
    }

    /// Bytes of requests held in memory, the one that is worked on included.
    pub(super) fn held(&self) -> usize {
        self.reader.held().saturating_add(self.working)
    }

    /// Is a request coming in that holds more than `small` bytes?
    pub(super) fn may_be_shed(&self, small: usize) -> bool {
        self.phase == Phase::Reading && self.reader.held() > small
    }

    /// Refuses the request that is coming in, for others' sake.
    pub(super) fn shed(&mut self, now: Instant) -> Progress {
        self.reader = RequestReader::new(self.limits);
        self.head_only = false;
        let busy = Response::text(503, "too many large calls at once; try again").with_header("Retry-After", "1");
        self.respond(now, busy, true)
    }

    /// Is an answer owed or under way?
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Working | Phase::Writing)
    }

    /// Does as much as the socket allows and others bear.
    pub(super) fn advance(&mut self, now: Instant) -> Progress {
        loop {
            let step = match self.phase {
                Phase::Working => return Progress::Wait,
                Phase::Reading => self.read(now),
                Phase::Writing => self.write(now),
                Phase::Lingering => self.discard(),
            };
            match step {
                Ok(Some(progress)) => return progress,
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Progress::Wait,
                Err(_) => return Progress::Close,
            }
        }
    }

    /// The deadline passed: says so if a request had begun, and closes.
    pub(super) fn expire(&mut self, now: Instant) -> Progress {
        if self.phase == Phase::Reading && self.reader.is_mid_request() {
            self.keep_alive = false;
            return self.respond(now, Response::text(408, "the request took too long"), true);
        }
        Progress::Close
    }

    /// Sends the answer to the last request. `last` = the connection ends with it.
    pub(super) fn respond(&mut self, now: Instant, response: Response, last: bool) -> Progress {
        self.keep_alive &= !last;
        (self.out, self.body) = response.encode(self.keep_alive, self.head_only);
        self.sent = 0;
        self.working = 0;
        self.enter(Phase::Writing, now, Some(self.timing.write));
        self.advance(now)
    }

    fn enter(&mut self, phase: Phase, now: Instant, time: Option<Duration>) {
        self.phase = phase;
        self.since = now;
        self.deadline = time.map(|time| now + time);
    }

    fn read(&mut self, now: Instant) -> io::Result<Option<Progress>> {
        match self.next_request() {
            Ok(Some(Err(refusal))) => return Ok(Some(self.respond(now, refusal, true))),
            Ok(Some(Ok(admitted))) => {
                self.keep_alive = admitted.request.keep_alive;
                self.working = admitted.request.body.len();
                self.enter(Phase::Working, now, None);
                return Ok(Some(Progress::Request(Box::new(admitted))));
            }
            Ok(None) => {}
            Err(e) => {
                debug!("refused a request: {e}");
                self.head_only = false;
                return Ok(Some(self.respond(now, e.response(), true)));
            }
        }
        if self.reader.take_continue() {
            // 25 bytes into an empty send buffer; a client whose buffer is full already does not get to wait for more.
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut buffer = [0; READ_LEN];
        let len = self.stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(Some(Progress::Close));
        }
        let was_idle = !self.reader.is_mid_request();
        self.reader.push(buffer.get(..len).unwrap_or_default());
        if was_idle && self.reader.is_mid_request() {
            self.deadline = Some(now + self.timing.request);
        }
        Ok(None)
    }

    /// The next whole request, or the refusal of one that may not be made: its body is not waited for.
    fn next_request(&mut self) -> Result<Option<Result<Admitted, Response>>, RequestError> {
        let local = self.local_ip();
        if let Some(head) = self.reader.next_head()? {
            self.head_only = head.method == Method::Head;
            match routes::admit(&self.guard, head, local, self.from) {
                Ok(caller) => self.caller = caller,
                Err(refusal) => return Ok(Some(Err(refusal))),
            }
        }
        let Some(request) = self.reader.next_request()? else { return Ok(None) };
        Ok(Some(Ok(Admitted { request, caller: self.caller.take() })))
    }

    fn write(&mut self, now: Instant) -> io::Result<Option<Progress>> {
        let mut made = 0;
        loop {
            if self.sent == 0 {
                if made >= TURN_LEN {
                    return Ok(Some(Progress::GoOn));
                }
                self.body.take(&mut self.out, WRITE_LEN);
                made += self.out.len();
            }
            let rest = self.out.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match self.stream.write(rest)? {
                0 => return Ok(Some(Progress::Close)),
                len if len < rest.len() => self.sent += len,
                _ => {
                    self.out.clear();
                    self.sent = 0;
                }
            }
        }
        // Answers can be large; an idle connection keeps nothing.
        self.out = Vec::new();
        if self.keep_alive {
            let time = if self.reader.is_mid_request() { self.timing.request } else { self.timing.idle };
            self.enter(Phase::Reading, now, Some(time));
        } else {
            self.stream.shutdown(Shutdown::Write)?;
            self.enter(Phase::Lingering, now, Some(LINGER));
        }
        Ok(None)
    }

    fn discard(&mut self) -> io::Result<Option<Progress>> {
        let mut buffer = [0; READ_LEN];
        let len = self.stream.read(&mut buffer)?;
        self.discarded = self.discarded.saturating_add(len);
        Ok((len == 0 || self.discarded > MAX_DISCARDED).then_some(Progress::Close))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may look at the clock")]
    fn a_long_answer_takes_many_turns() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let guard = Arc::new(Guard::new(IpAddr::V4(Ipv4Addr::LOCALHOST), &[], None));
        let (limits, now) = (Limits::default(), Instant::now());
        let stream = TcpStream::from_std(stream);
        let mut connection = Connection::new(now, stream, 1, guard, limits, Timing::default());
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all.len()
        });
        let mut progress = connection.respond(now, Response::text(200, &"x".repeat(4 << 20)), true);
        let mut turns = 0;
        while connection.is_busy() {
            match progress {
                Progress::GoOn => turns += 1,
                Progress::Wait => std::thread::sleep(Duration::from_millis(1)),
                _ => panic!("an answer was under way"),
            }
            progress = connection.advance(now);
        }
        assert!(turns > 0, "all of it at once");
        assert!(reader.join().unwrap() > 4 << 20, "and all of it came");
    }
}
