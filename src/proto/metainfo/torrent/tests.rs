use proptest::prelude::*;

use super::*;

/// A torrent file around these info entries.
fn torrent(info: &str) -> Vec<u8> {
    format!("d4:infod{info}ee").into_bytes()
}

fn pieces(count: usize) -> String {
    format!("6:pieces{}:{}", count * 20, "h".repeat(count * 20))
}

fn single(length: i64, piece_length: i64, count: usize) -> Vec<u8> {
    torrent(&format!("6:lengthi{length}e4:name1:x12:piece lengthi{piece_length}e{}", pieces(count)))
}

fn multi(files: &str, count: usize) -> Vec<u8> {
    torrent(&format!("5:filesl{files}e4:name3:top12:piece lengthi16384e{}", pieces(count)))
}

fn file(length: i64, path: &str) -> String {
    let path: String = path.split('/').map(|name| format!("{}:{name}", name.len())).collect();
    format!("d6:lengthi{length}e4:pathl{path}ee")
}

fn refused(input: &[u8]) -> MetainfoError {
    Metainfo::parse(input).unwrap_err()
}

#[test]
fn a_single_file_torrent_is_read() {
    let metainfo = Metainfo::parse(&single(20_000, 16_384, 2)).unwrap();
    let info = &metainfo.info;
    assert_eq!((&*info.name, info.single_file, info.private), ("x", true, false));
    assert_eq!((info.geometry.total(), info.geometry.piece_length(), info.geometry.piece_count()), (20_000, 16_384, 2));
    assert_eq!(info.file_paths(), [PathBuf::from("x")]);
    assert_eq!(info.info_hash_v2, None);
    assert!(metainfo.about.trackers.is_empty() && metainfo.about.web_seeds.is_empty());
}

#[test]
fn several_files_share_a_piece_and_empty_ones_and_pads_are_kept() {
    let pad = "d4:attr1:p6:lengthi16379e4:pathl4:.pad5:16379ee";
    let files = [&file(2, "a/b/c"), &file(0, "empty"), &file(3, "d"), pad, &file(1, "e")].map(String::from).concat();
    let info = Metainfo::parse(&multi(&files, 2)).unwrap().info;
    assert_eq!(info.geometry.total(), 16_385);
    assert_eq!(info.files.iter().map(|file| file.pad).collect::<Vec<_>>(), [false, false, false, true, false]);
    let paths = ["top/a/b/c", "top/empty", "top/d", "top/.pad/16379", "top/e"];
    assert_eq!(info.file_paths(), paths.map(PathBuf::from));
}

#[test]
fn a_torrent_of_empty_files_has_no_pieces() {
    let info = Metainfo::parse(&multi(&file(0, "a"), 0)).unwrap().info;
    assert_eq!((info.geometry.piece_count(), info.files.len()), (0, 1));
}

#[test]
fn the_info_hash_is_taken_over_the_raw_bytes() {
    // Unsorted keys, unknown keys, and a second dictionary called info deeper down.
    let raw = format!("d{}4:zzzzd4:infoi1ee12:piece lengthi16384e4:name1:x6:lengthi1e5:extrali1eee", pieces(1));
    let input = format!("d5:otherd4:infode1:xi1ee4:info{raw}8:announce8:http://ae");
    let metainfo = Metainfo::parse(input.as_bytes()).unwrap();
    assert_eq!(&**metainfo.raw_info(), raw.as_bytes());
    assert_eq!(metainfo.info_hash, InfoHash::new(Sha1::digest(raw.as_bytes()).into()));
    assert_eq!(metainfo.about.trackers, [["http://a"]]);
    assert_eq!(Metainfo::parse(&metainfo.to_bytes()).unwrap().info_hash, metainfo.info_hash);

    let again = Metainfo::from_info(raw.as_bytes().into(), metainfo.info_hash, vec![]).unwrap();
    assert_eq!(again.info, metainfo.info);
    let expected = InfoHash::new([7; 20]);
    let wrong = Metainfo::from_info(raw.as_bytes().into(), expected, vec![]).unwrap_err();
    assert_eq!(wrong, MetainfoError::InfoHash { expected, found: metainfo.info_hash });
}

#[test]
fn tiers_beat_the_single_announce_and_web_seeds_come_both_ways() {
    let around = |entries: &str| {
        let input = [b"d", entries.as_bytes(), single(1, 16_384, 1).strip_prefix(b"d").unwrap()].concat();
        Metainfo::parse(&input).unwrap()
    };
    let tiers = around("8:announce1:z13:announce-listll1:a1:bel1:a1:celi1eel0:ee8:url-list8:http://w");
    assert_eq!(tiers.about.trackers, [vec!["a", "b"], vec!["c"]]);
    assert_eq!(around("8:announce1:z13:announce-listllee").about.trackers, [["z"]]);
    assert_eq!(around("8:url-list1:v").about.web_seeds, ["v"]);
    assert_eq!(around("8:url-listl1:v1:wi5e0:e").about.web_seeds, ["v", "w"]);
    assert_eq!(
        around("8:announce2:\u{e9}7:comment3:hi\n10:created by0:13:creation datei-5e").about.comment.as_deref(),
        Some("hi\n")
    );
}

#[test]
fn utf8_keys_win_and_other_names_become_safe_and_unique() {
    let mut input = b"d4:infod5:filesl".to_vec();
    for name in [&b"caf\xe9"[..], b"caf\xe8", b"..", b"CON"] {
        input.extend(format!("d6:lengthi1e4:pathl{}:", name.len()).bytes());
        input.extend(name);
        input.extend(b"ee");
    }
    input.extend(b"d6:lengthi1e4:pathl1:xe10:path.utf-8l2:\xc3\xbcee");
    input.extend(format!("e4:name1:x10:name.utf-84:../a12:piece lengthi16384e{}ee", pieces(1)).bytes());
    let info = Metainfo::parse(&input).unwrap().info;
    assert_eq!(&*info.name, ".._a");
    let names: Vec<_> = info.files.iter().map(|file| file.path.to_string()).collect();
    assert_eq!(names, ["caf\u{fffd}", "caf\u{fffd} (2)", "_", "_CON", "ü"]);
    // What cannot lie on a disk has no literal path; what differs only in being safe has one.
    let literals: Vec<_> = info.files.iter().map(|file| info.literal_path(file).map(|path| path[1].clone())).collect();
    assert_eq!(literals, [Some(b"caf\xe9".to_vec()), Some(b"caf\xe8".to_vec()), None, Some(b"CON".to_vec()), None]);
}

#[test]
fn a_hybrid_torrent_is_read_through_its_v1_part() {
    let tree = "9:file treed1:xd0:d6:lengthi1eeee";
    let raw = format!("d{tree}6:lengthi1e12:meta versioni2e4:name1:x12:piece lengthi16384e{}e", pieces(1));
    let info = Metainfo::parse(format!("d4:info{raw}e").as_bytes()).unwrap().info;
    assert_eq!(info.info_hash_v2, Some(Box::new(InfoHashV2::new(sha2::Sha256::digest(raw.as_bytes()).into()))));
    let v2 = torrent(&format!("{tree}12:meta versioni2e4:name1:x12:piece lengthi16384e"));
    assert_eq!(refused(&v2), MetainfoError::V2Only);
}

#[test]
fn impossible_torrents_are_refused_with_the_reason() {
    assert_eq!(refused(b""), MetainfoError::Bencode(BencodeError::UnexpectedEnd));
    assert_eq!(refused(b"le"), MetainfoError::NotADictionary);
    assert_eq!(refused(b"d4:info1:xe"), MetainfoError::Key("info"));
    assert_eq!(refused(b"de"), MetainfoError::Key("info"));
    assert_eq!(refused(&vec![b'd'; MAX_TORRENT_LEN + 1]), MetainfoError::TooLarge(MAX_TORRENT_LEN + 1));
    assert_eq!(refused(&b"d1:a".repeat(100)), MetainfoError::Bencode(BencodeError::TooDeep(128)));
    assert_eq!(
        refused(&torrent("6:lengthi1e4:name1:x12:piece lengthi1e6:pieces3:abc")),
        MetainfoError::PiecesLength(3)
    );
    assert_eq!(refused(&single(16_385, 16_384, 1)), MetainfoError::PieceCount { expected: 2, found: 1 });
    assert_eq!(refused(&single(0, 16_384, 1)), MetainfoError::PieceCount { expected: 0, found: 1 });
    assert_eq!(refused(&single(-1, 16_384, 1)), MetainfoError::FileLength { file: 0, length: -1 });
    assert_eq!(refused(&single(1, 0, 1)), MetainfoError::Geometry(GeometryError::PieceLength(0)));
    assert_eq!(refused(&single(1, -1, 1)), MetainfoError::PieceLength(-1));
    assert_eq!(refused(&single(1, 1 << 40, 1)), MetainfoError::Geometry(GeometryError::PieceLength(1 << 40)));
    let many = GeometryError::TooManyPieces(i64::MAX.unsigned_abs());
    assert_eq!(refused(&single(i64::MAX, 1, 1)), MetainfoError::Geometry(many));
    assert_eq!(refused(&multi("", 0)), MetainfoError::NoFiles);
    assert_eq!(refused(&multi("d6:lengthi1e4:pathlee", 1)), MetainfoError::EmptyPath(0));
    assert_eq!(refused(&multi("d6:lengthi1ee", 1)), MetainfoError::File(0));
    assert_eq!(refused(&multi("i1e", 1)), MetainfoError::File(0));
    assert_eq!(refused(&multi("d6:lengthi1e4:pathli1eee", 1)), MetainfoError::File(0));
    assert_eq!(refused(&multi(&file(-5, "a"), 1)), MetainfoError::FileLength { file: 0, length: -5 });
    assert_eq!(refused(&multi(&file(i64::MAX, "a").repeat(3), 1)), MetainfoError::TotalLength);
    let deep = MetainfoError::PathDepth { file: 0, depth: 101 };
    assert_eq!(refused(&multi(&file(1, &["a"; 101].join("/")), 1)), deep);
}

#[test]
fn only_a_line_break_may_follow() {
    let good = single(1, 16_384, 1);
    for tail in [&b"\n"[..], b"\r\n"] {
        assert!(Metainfo::parse(&[&good, tail].concat()).is_ok());
    }
    for tail in [&b"x"[..], b"\n\n", b" ", b"i1e"] {
        let error = refused(&[&good, tail].concat());
        assert_eq!(error, MetainfoError::Bencode(BencodeError::TrailingBytes(good.len())));
    }
}

proptest! {
    #[test]
    fn a_damaged_torrent_never_panics(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
        let mut input = multi(&[file(5, "a/b"), file(16_380, "c"), file(0, "d")].concat(), 2);
        let at = at % input.len();
        input[at] = byte;
        if let Ok(metainfo) = Metainfo::parse(&input) {
            let sum: u64 = metainfo.info.files.iter().map(|file| file.len).sum();
            prop_assert_eq!(sum, metainfo.info.geometry.total());
            prop_assert_eq!(metainfo.info.pieces.len(), metainfo.info.geometry.piece_count() as usize);
        }
        prop_assert!(Metainfo::parse(&input[..cut % input.len()]).is_err());
    }
}
