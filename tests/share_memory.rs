//! What a million shares of contacts take of this process's memory, as the kernel counts it.
//!
//! Alone in its file: other tests would be counted, too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails should say where")]

use bitween::share::{ContactShares, Page};
use bitween::storage::process_memory;
use bitween::types::{Announcement, InfoHash, Share, Via};

const CONTACTS: u32 = 20;
const EACH: u32 = 50_000;

/// Shares whose names have 40 bytes.
fn shares(contact: u32) -> Vec<Share> {
    let mut rng = fastrand::Rng::with_seed(contact.into());
    let share = |number: u32| {
        let info_hash = InfoHash::new(std::array::from_fn(|_| rng.u8(..)));
        let name = format!("Holidays at the sea {contact:04} film {number:010}");
        assert_eq!(name.len(), 40);
        Share { info_hash, name: name.into(), size: u64::from(number), files: 1, complete: true }
    };
    (0..EACH).map(share).collect()
}

#[test]
fn a_million_shares_take_less_than_200_bytes_each() {
    let (_, before) = process_memory().unwrap();
    let mut contacts = ContactShares::new();
    for contact in 0..CONTACTS {
        let announcement = Announcement::Shares { resource: "r".to_owned(), shares: shares(contact), truncated: false };
        let _ = contacts.apply(Via::FIRST, &format!("contact{contact}@example.org"), announcement);
    }
    let (_, after) = process_memory().unwrap();
    let each = (after - before) / u64::from(CONTACTS * EACH);
    println!("{each} bytes a share");
    assert!((100..=200).contains(&each), "{each} bytes a share");
    assert_eq!(contacts.search("", Page::first(1)).total, 1_000_000);
}
