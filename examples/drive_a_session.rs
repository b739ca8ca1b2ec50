//! Two peer sessions driven by hand, without a socket: one connects, asks for a block and gets it.
//!
//! Run with `cargo run --example drive_a_session`. The loop in `read` is all a real program has to do around a socket.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::error::Error;
use std::time::Instant;

use bitween::proto::peer::{Command, Event, Session, SessionOptions, Step, WireError};
use bitween::types::{Bitfield, Geometry, InfoHash, PeerId};

/// One end of the connection.
struct End {
    name: &'static str,
    session: Session,
    /// What has arrived and is not decoded yet.
    input: Vec<u8>,
}

impl End {
    /// Decodes all that is there, prints it, and tells which events were seen by `on_event`.
    fn read(&mut self, now: Instant, mut on_event: impl FnMut(&Event<'_>)) -> Result<(), WireError> {
        let mut input = self.input.as_slice();
        while let Step::Message { consumed, event } = self.session.step(now, input)? {
            match &event {
                Event::Block { block, data } => println!("{:>7} hears Block {block}: {} bytes", self.name, data.len()),
                other => println!("{:>7} hears {other:?}", self.name),
            }
            on_event(&event);
            input = input.get(consumed..).unwrap_or_default();
        }
        // What is left is the beginning of a message: keep it for the next time.
        self.input = input.to_vec();
        Ok(())
    }
}

fn options(name: [u8; 12], geometry: Geometry) -> SessionOptions {
    SessionOptions {
        peer_id: PeerId::ours(name),
        listen_port: Some(6881),
        geometry: Some(geometry),
        metadata_size: None,
        request_queue: 250,
        client: "drive_a_session".to_owned(),
        remote_ip: None,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let now = Instant::now();
    let geometry = Geometry::new(1_000_000, 65_536)?;
    let info_hash: InfoHash = "0123456789abcdef0123456789abcdef01234567".parse()?;
    let first = geometry.pieces().next().and_then(|piece| geometry.block(piece, 0)).ok_or("the torrent is empty")?;

    // The leecher connects: its handshake is on its way at once.
    let mut wire = Vec::new();
    let session = Session::initiator(now, info_hash, options(*b"leecher-----", geometry), &mut wire);
    let mut leecher = End { name: "leecher", session, input: Vec::new() };

    // The seeder hears which torrent it is about, and agrees.
    let mut seeder = End { name: "seeder", session: Session::responder(now), input: wire };
    seeder.read(now, |_| ())?;
    seeder.session.accept(now, options(*b"seeder------", geometry), &mut leecher.input);
    seeder.session.send(now, &Command::Bitfield(Bitfield::full(geometry.piece_count())), &mut leecher.input);
    seeder.session.send(now, &Command::Unchoke, &mut leecher.input);

    // The leecher may ask as soon as it is unchoked.
    let mut unchoked = false;
    leecher.read(now, |event| unchoked |= *event == Event::Unchoked)?;
    if unchoked {
        leecher.session.send(now, &Command::Interested, &mut seeder.input);
        leecher.session.send(now, &Command::Request(first), &mut seeder.input);
    }

    // The seeder serves: the session writes the header, the payload is the caller's.
    let mut wanted = Vec::new();
    seeder.read(now, |event| {
        if let Event::Requested(block) = event {
            wanted.push(*block);
        }
    })?;
    for block in wanted {
        seeder.session.send(now, &Command::Block(block), &mut leecher.input);
        leecher.input.extend(std::iter::repeat_n(0x5a, block.len() as usize));
    }
    leecher.read(now, |_| ())?;
    println!("next deadline in {:?}", leecher.session.poll_timeout().saturating_duration_since(now));
    Ok(())
}
