//! What a person waits for after `bitween search`: a million shares of 20 contacts, half of whom are online, with names of
//! some 40 bytes. Each row answers with the first 1000 torrents.
//!
//! `1M_rare_word` is in 40 names, `1M_common_word` in 100,000, `1M_two_words` are in 100,000 and in a million names and
//! together in 100,000; `1M_every_name` fits all, `1M_empty_first_page` is the list of everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)] // Bench code: a failure may panic.

use std::hint::black_box;

use bitween::share::{ContactShares, Page};
use bitween::types::{Announcement, InfoHash, Share, Via};
use criterion::{Criterion, criterion_group, criterion_main};

const CONTACTS: u32 = 20;
const EACH: u32 = 50_000;

fn share(rng: &mut fastrand::Rng, number: u32) -> Share {
    let info_hash = InfoHash::new(std::array::from_fn(|_| rng.u8(..)));
    let word: String = (0..14).map(|_| rng.lowercase()).collect();
    let kind = if number.is_multiple_of(10) { "Holiday" } else { "Weekend" };
    let rare = if number.is_multiple_of(25_000) { " Xylophone" } else { "" };
    let name = format!("{kind} {word} recording {number:06}{rare}");
    Share { info_hash, name: name.into(), size: u64::from(number) << 20, files: 1, complete: true }
}

fn contacts() -> ContactShares {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut contacts = ContactShares::new();
    for contact in 0..CONTACTS {
        let jid = format!("contact{contact:02}@example.org");
        let shares = (0..EACH).map(|n| share(&mut rng, contact * EACH + n)).collect();
        if contact % 2 == 0 {
            let _ = contacts.online(Via::FIRST, &jid, "r");
        }
        let _ =
            contacts.apply(Via::FIRST, &jid, Announcement::Shares { resource: "r".into(), shares, truncated: false });
    }
    contacts
}

fn search(c: &mut Criterion) {
    let contacts = contacts();
    let mut group = c.benchmark_group("share_search");
    let rows = [
        ("1M_rare_word", "xylophone", 40),
        ("1M_common_word", "holiday", 100_000),
        ("1M_two_words", "holiday recording", 100_000),
        ("1M_every_name", "recording", 200_000),
        ("1M_empty_first_page", "", 1_000_000),
    ];
    for (name, query, total) in rows {
        assert_eq!(contacts.search(query, Page::first(1000)).total, total, "{name}");
        group.bench_function(name, |b| b.iter(|| black_box(contacts.search(query, Page::first(1000)))));
    }
    group.finish();
}

criterion_group!(benches, search);
criterion_main!(benches);
