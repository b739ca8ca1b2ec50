//! Tests of SASL: the exchanges printed in the RFCs, and servers that lie.

use super::*;

const SHA1_NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";
const SHA1_FIRST: &[u8] = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
const SHA1_FINAL: &[u8] = b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=";
const SHA256_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SHA256_FIRST: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const SHA256_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

/// Takes a challenge and does the work that follows from it.
fn respond(exchange: &mut Exchange, challenge: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslError> {
    match exchange.challenge(challenge)? {
        Reply::Send(answer) => Ok(answer),
        Reply::Derive(derivation) => exchange.derived(&derivation.run()),
    }
}

fn sha1() -> Exchange {
    Exchange::new(Mechanism::Scram(HashKind::Sha1), "user", "pencil", SHA1_NONCE).unwrap()
}

fn sha256() -> Exchange {
    Exchange::new(Mechanism::Scram(HashKind::Sha256), "user", "pencil", SHA256_NONCE).unwrap()
}

#[test]
fn the_exchange_of_rfc_5802_is_reproduced() {
    let mut exchange = sha1();
    assert_eq!(&**exchange.initial(), b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    let answer = respond(&mut exchange, SHA1_FIRST).unwrap();
    let expected = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
    assert_eq!(exchange.success(Some(SHA1_FINAL)), Ok(()));
}

#[test]
fn the_exchange_of_rfc_7677_is_reproduced() {
    let mut exchange = sha256();
    assert_eq!(&**exchange.initial(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let answer = respond(&mut exchange, SHA256_FIRST).unwrap();
    let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
    assert_eq!(exchange.success(Some(SHA256_FINAL)), Ok(()));
}

#[test]
fn the_signature_may_also_come_as_a_last_challenge() {
    let mut exchange = sha256();
    respond(&mut exchange, SHA256_FIRST).unwrap();
    assert!(respond(&mut exchange, SHA256_FINAL).unwrap().is_empty());
    assert_eq!(exchange.success(None), Ok(()));
}

#[test]
fn a_server_without_the_right_signature_is_refused() {
    let wrong_finals: &[Option<&[u8]>] = &[
        Some(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="), // of the other hash
        Some(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="),
        Some(b"v="),
        Some(b"v=not base64"),
        Some(b""),
        None,
    ];
    for data in wrong_finals {
        let mut exchange = sha256();
        respond(&mut exchange, SHA256_FIRST).unwrap();
        assert_eq!(exchange.success(*data), Err(SaslError::WrongSignature), "{data:?}");
    }
}

#[test]
fn success_before_the_exchange_is_complete_is_refused() {
    assert_eq!(sha1().success(None), Err(SaslError::WrongSignature));
    assert_eq!(sha1().success(Some(SHA1_FINAL)), Err(SaslError::WrongSignature));
}

#[test]
fn a_nonce_that_is_not_an_extension_of_ours_is_refused() {
    for nonce in ["", "other3rfcNHYJY1ZVvWVs7j", SHA1_NONCE, "fyko+d2lbbFgONRv9qkxdaw"] {
        let message = format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096");
        assert_eq!(respond(&mut sha1(), message.as_bytes()), Err(SaslError::WrongNonce), "{nonce}");
    }
}

#[test]
fn iteration_counts_outside_the_bounds_are_refused_without_computing() {
    for count in [0, 1, 4095, 2_000_001, u64::from(u32::MAX), 1 << 40] {
        let message = format!("r={SHA1_NONCE}x,s=QSXCR+Q6sek8bf92,i={count}");
        assert_eq!(respond(&mut sha1(), message.as_bytes()), Err(SaslError::Iterations(count)));
    }
}

#[test]
fn malformed_challenges_are_refused() {
    let nonce = format!("r={SHA1_NONCE}x");
    let long = format!("{nonce},s={},i=4096", "A".repeat(5000));
    let table = [
        "",
        "x",
        "s=QSXCR+Q6sek8bf92,i=4096",
        &format!("m=ext,{nonce},s=QSXCR+Q6sek8bf92,i=4096"),
        &format!("{nonce},s=,i=4096"),
        &format!("{nonce},s=!!!,i=4096"),
        &format!("{nonce},s=QSXCR+Q6sek8bf92"),
        &format!("{nonce},s=QSXCR+Q6sek8bf92,i=x"),
        &format!("{nonce},s=QSXCR+Q6sek8bf92,i=-1"),
        &long,
    ];
    for message in table {
        let error = respond(&mut sha1(), message.as_bytes()).unwrap_err();
        assert!(matches!(error, SaslError::Malformed(_)), "{message}: {error}");
    }
    assert_eq!(respond(&mut sha1(), b"\xff"), Err(SaslError::Malformed("not UTF-8")));
}

#[test]
fn an_exchange_is_over_after_an_error() {
    let mut exchange = sha1();
    respond(&mut exchange, b"x").unwrap_err();
    respond(&mut exchange, SHA1_FIRST).unwrap_err();
    exchange.success(Some(SHA1_FINAL)).unwrap_err();
}

#[test]
fn an_error_inside_the_exchange_is_reported() {
    let mut exchange = sha1();
    respond(&mut exchange, SHA1_FIRST).unwrap();
    assert_eq!(respond(&mut exchange, b"e=other-error\n"), Err(SaslError::Refused("other-error".into())));
}

#[test]
fn plain_sends_user_and_password_and_nothing_answers_it() {
    let mut exchange = Exchange::new(Mechanism::Plain, "user", "pencil", "unused").unwrap();
    assert_eq!(&**exchange.initial(), b"\0user\0pencil");
    assert_eq!(exchange.success(None), Ok(()));
    let mut exchange = Exchange::new(Mechanism::Plain, "user", "pencil", "unused").unwrap();
    respond(&mut exchange, b"").unwrap_err();
}

#[test]
fn names_are_prepared_and_escaped() {
    let first = |user| {
        let exchange = Exchange::new(Mechanism::Scram(HashKind::Sha1), user, "x", "n").unwrap();
        String::from_utf8(exchange.initial().to_vec()).unwrap()
    };
    assert_eq!(first("a=b,c"), "n,,n=a=3Db=2Cc,r=n");
    assert_eq!(first("I\u{AD}X"), "n,,n=IX,r=n"); // RFC 4013: soft hyphen is mapped to nothing
    assert_eq!(first("\u{2168}"), "n,,n=IX,r=n"); // Roman numeral nine
    assert_eq!(first("\u{1F980}"), "n,,n=\u{1F980},r=n");
    for (user, password, part) in
        [("\u{7}", "x", "user name"), ("", "x", "user name"), ("u", "a\nb", "password"), ("u", "", "password")]
    {
        let error = Exchange::new(Mechanism::Scram(HashKind::Sha1), user, password, "n").unwrap_err();
        assert_eq!(error, SaslError::BadCredentials(part));
    }
}

#[test]
fn every_hash_bound_and_unbound_agrees_with_a_server() {
    for mechanism in Mechanism::ALL.into_iter().filter(|mechanism| mechanism.hash().is_some()) {
        let bindings = if mechanism.is_bound() {
            vec![ChannelBinding::Exporter([1; 32]), ChannelBinding::EndPoint(vec![2; 48])]
        } else {
            vec![ChannelBinding::Unsupported, ChannelBinding::NotOffered]
        };
        for binding in bindings {
            let choice = Choice { binding: binding.clone(), ..Choice::from(mechanism) };
            let mut exchange = Exchange::new(choice, "user", "pencil", "abc").unwrap();
            let first = String::from_utf8(exchange.initial().to_vec()).unwrap();
            let (header, bare) = first.split_at(first.find("n=user").unwrap());
            assert_eq!(exchange.untried_binding(), binding.kind());
            let challenge = "r=abcdef,s=QSXCR+Q6sek8bf92,i=4096";
            let answer = String::from_utf8(respond(&mut exchange, challenge.as_bytes()).unwrap().to_vec()).unwrap();
            assert_eq!(exchange.untried_binding(), None);
            let (without_proof, proof) = answer.split_once(",p=").unwrap();
            let repeated = BASE64.decode(without_proof.split(',').next().unwrap().strip_prefix("c=").unwrap()).unwrap();
            assert!(repeated.starts_with(header.as_bytes()), "{header}");
            let data: &[u8] = match &binding {
                ChannelBinding::Exporter(data) => data,
                ChannelBinding::EndPoint(data) => data,
                _ => &[],
            };
            assert_eq!(&repeated[header.len()..], data);
            let signed = format!("{bare},{challenge},{without_proof}");
            let final_message = match mechanism.hash().unwrap() {
                HashKind::Sha1 => serve::<Sha1>(&signed, proof),
                HashKind::Sha256 => serve::<Sha256>(&signed, proof),
                HashKind::Sha512 => serve::<Sha512>(&signed, proof),
            };
            assert_eq!(exchange.success(Some(final_message.as_bytes())), Ok(()), "{mechanism:?}");
        }
    }
}

/// The server's half, with the password "pencil" (RFC 5802 section 3): checks the proof and signs.
fn serve<D: EagerHash + Digest>(signed: &str, proof: &str) -> String {
    let mut salted = vec![0; <D as Digest>::output_size()];
    let salt = BASE64.decode("QSXCR+Q6sek8bf92").unwrap();
    pbkdf2::pbkdf2_hmac::<D>(b"pencil", &salt, 4096, &mut salted);
    let stored = D::digest(mac::<D>(&salted, b"Client Key").finalize().into_bytes());
    let mask = mac::<D>(&stored, signed.as_bytes()).finalize().into_bytes();
    let key: Vec<u8> = BASE64.decode(proof).unwrap().iter().zip(mask.iter()).map(|(a, b)| a ^ b).collect();
    assert_eq!(D::digest(key)[..], stored[..], "the proof is good");
    let key = mac::<D>(&salted, b"Server Key").finalize().into_bytes();
    format!("v={}", BASE64.encode(mac::<D>(&key, signed.as_bytes()).finalize().into_bytes()))
}

#[test]
fn debug_output_shows_no_secret() {
    let exchange = Exchange::new(Mechanism::Plain, "user", "pencil", "n").unwrap();
    assert!(!format!("{exchange:?}").contains("pencil"));
    let Ok(Reply::Derive(derivation)) = sha1().challenge(SHA1_FIRST) else { panic!() };
    assert!(!format!("{derivation:?}").contains("pencil"));
}

proptest::proptest! {
    #[test]
    fn whatever_a_server_says_is_answered_or_refused(
        text in "(r=abc[a-z]{0,3},s=[A-Za-z+/=]{0,8},i=[0-9]{0,5}(,[hm]=.{0,4})?|.{0,40})", signed: bool,
    ) {
        let unless_signed = signed.then_some(SaslError::Weaker("SCRAM-SHA-1"));
        let choice = Choice { unless_signed, ..Choice::from(Mechanism::Scram(HashKind::Sha1)) };
        let mut exchange = Exchange::new(choice, "user", "pencil", "abc").unwrap();
        if let Ok(Reply::Derive(derivation)) = exchange.challenge(text.as_bytes()) {
            assert!((MIN_ITERATIONS..=MAX_ITERATIONS).contains(&derivation.iterations()) && !signed);
        }
        assert!(exchange.success(Some(text.as_bytes())).is_err());
    }
}
