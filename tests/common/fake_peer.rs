//! A peer written by hand over [`Session`]: it has all pieces and behaves as badly as a test wants.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bitween::proto::metainfo::Metainfo;
use bitween::proto::peer::{Command, Event, Session, SessionOptions, Step};
use bitween::types::{Bitfield, Block, PeerId};

/// What it does with a request: the bytes to answer with, or silence.
pub type Answer = dyn Fn(Block) -> Option<Vec<u8>> + Send + Sync;

/// A listening peer; every connection gets a thread, which ends with the connection.
pub struct FakePeer {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl FakePeer {
    /// Claims to have all of the torrent and answers requests with `answer`.
    pub fn start(metainfo: &Metainfo, answer: impl Fn(Block) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, served) = (Arc::clone(&connections), Arc::clone(&answered));
        let (metainfo, answer): (Metainfo, Arc<Answer>) = (metainfo.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let (metainfo, answer, served) = (metainfo.clone(), Arc::clone(&answer), Arc::clone(&served));
                thread::spawn(move || serve(stream, &metainfo, &*answer, &served));
            }
        });
        Self { address, connections, answered }
    }

    /// Connections that were made to it so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Blocks that it has sent.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

/// What a fake peer says of itself; with `metainfo` it knows the torrent.
pub fn session_options(metainfo: Option<&Metainfo>) -> SessionOptions {
    SessionOptions {
        peer_id: PeerId::new(*b"-XX0000-fakefakefake"),
        listen_port: None,
        geometry: metainfo.map(|metainfo| metainfo.info.geometry),
        metadata_size: metainfo.map(|metainfo| u32::try_from(metainfo.raw_info().len()).unwrap()),
        request_queue: 500,
        client: "fake".to_owned(),
        remote_ip: None,
    }
}

fn serve(mut stream: TcpStream, metainfo: &Metainfo, answer: &Answer, answered: &AtomicUsize) {
    let mut session = Session::responder(Instant::now());
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => input.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        let now = Instant::now();
        while let Ok(Step::Message { consumed, event }) = session.step(now, &input) {
            match event {
                Event::Handshake(_) => {
                    session.accept(now, session_options(Some(metainfo)), &mut out);
                    let all = Bitfield::full(metainfo.info.geometry.piece_count());
                    session.send(now, &Command::Bitfield(all), &mut out);
                }
                Event::Interested => session.send(now, &Command::Unchoke, &mut out),
                Event::Requested(block) => {
                    if let Some(data) = answer(block) {
                        session.send(now, &Command::Block(block), &mut out);
                        out.extend_from_slice(&data);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                _ => {}
            }
            input.drain(..consumed);
        }
        if stream.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}

/// A connection to somebody, made by hand: handshakes are done, nothing is read behind them.
pub fn connect(address: SocketAddr, metainfo: &Metainfo) -> (TcpStream, Session) {
    connect_as(*b"-XX0000-fakefakefake", address, metainfo)
}

/// As [`connect`], by this name; peers of one name are taken for one.
pub fn connect_as(name: [u8; 20], address: SocketAddr, metainfo: &Metainfo) -> (TcpStream, Session) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut out = Vec::new();
    let now = Instant::now();
    let options = SessionOptions { peer_id: PeerId::new(name), ..session_options(Some(metainfo)) };
    let mut session = Session::initiator(now, metainfo.info_hash, options, &mut out);
    stream.write_all(&out).unwrap();
    let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
    // Until the peer's extended handshake is here: metadata may be asked for from then on.
    loop {
        match session.step(now, &input).unwrap() {
            Step::Message { consumed, event } => {
                let done = matches!(event, Event::ExtendedHandshake(_));
                input.drain(..consumed);
                if done {
                    return (stream, session);
                }
            }
            Step::NeedMore(_) => {
                let len = stream.read(&mut buffer).unwrap();
                assert!(len > 0, "closed before the handshake was done");
                input.extend_from_slice(&buffer[..len]);
            }
        }
    }
}
