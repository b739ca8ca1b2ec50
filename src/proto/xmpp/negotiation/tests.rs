//! Tests of the negotiation against scripted servers.

use super::*;
use crate::proto::xmpp::framing::{Framer, Limits};

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      from='example.org' id='1' version='1.0'>";
const STARTTLS: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const BIND: &str = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";
const BOUND: &str = "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                     <jid>alice@example.org/r1</jid></bind></iq>";

fn mechanisms(names: &[&str]) -> String {
    let list: String = names.iter().map(|name| format!("<mechanism>{name}</mechanism>")).collect();
    format!(
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{list}</mechanisms></stream:features>"
    )
}

/// A negotiation together with the server's side of the stream.
struct Dialogue {
    negotiation: Negotiation,
    framer: Framer,
    sent: Vec<u8>,
}

impl Dialogue {
    fn new(tls: Tls, allow_plain: bool) -> Self {
        Self::after(tls, allow_plain, None, Channel::default())
    }

    /// With an account that has logged in before, on a channel.
    fn after(tls: Tls, allow_plain: bool, seen: Option<Mechanism>, channel: Channel) -> Self {
        Self::knowing(tls, allow_plain, seen, Vec::new(), channel)
    }

    /// And of whose server it is known what it does not know.
    fn knowing(
        tls: Tls,
        allow_plain: bool,
        seen: Option<Mechanism>,
        unknown_bindings: Vec<&'static str>,
        channel: Channel,
    ) -> Self {
        let login = Login {
            account: BareJid::new("alice@example.org").unwrap(),
            resource: "r<1>".into(),
            password: Zeroizing::new("secret".into()),
            allow_plain,
            seen,
            unknown_bindings,
            nonce: "abcdefgh".into(),
            resume: None,
        };
        let mut sent = Vec::new();
        let negotiation = Negotiation::begin(login, tls, channel, &mut sent);
        Self { negotiation, framer: Framer::new(Limits::default()), sent }
    }

    /// The server says something (a header first if the stream is new); the last step and what we answered.
    fn hear(&mut self, text: &str) -> Result<(Step, String), NegotiationError> {
        self.sent.clear();
        self.framer.push(text.as_bytes());
        let mut step = Step::Continue;
        while let Some(frame) = self.framer.next_frame().unwrap() {
            step = self.negotiation.frame(frame, &mut self.sent)?;
            if let Step::Derive(derivation) = &step {
                self.negotiation.derived(&derivation.run(), &mut self.sent)?;
                step = Step::Continue;
            }
        }
        if matches!(step, Step::StartTls | Step::Restart) {
            self.framer = Framer::new(Limits::default());
        }
        Ok((step, String::from_utf8(self.sent.clone()).unwrap()))
    }

    fn stream(&mut self, features: &str) -> Result<(Step, String), NegotiationError> {
        self.hear(&format!("{HEADER}{features}"))
    }
}

#[test]
fn the_whole_way_from_starttls_to_a_resource() {
    let mut dialogue = Dialogue::new(Tls::StartTls, true);
    let first = String::from_utf8(dialogue.sent.clone()).unwrap();
    assert!(first.contains("to='example.org'") && !first.contains("alice"), "{first}");

    let (step, sent) = dialogue.stream(STARTTLS).unwrap();
    assert_eq!((step, sent.as_str()), (Step::Continue, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"));
    assert_eq!(dialogue.hear(PROCEED).unwrap(), (Step::StartTls, String::new()));

    dialogue.sent.clear();
    dialogue.negotiation.encrypted(Channel::default(), &mut dialogue.sent);
    assert!(String::from_utf8(dialogue.sent.clone()).unwrap().contains("from='alice@example.org'"));
    let (_, sent) = dialogue.stream(&mechanisms(&["PLAIN"])).unwrap();
    assert!(sent.contains("mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>"), "{sent}");

    let (step, sent) = dialogue.hear(SUCCESS).unwrap();
    assert_eq!(step, Step::Restart);
    assert!(sent.starts_with("<?xml"), "{sent}");
    let (_, sent) = dialogue.stream(BIND).unwrap();
    assert!(sent.contains("<resource>r&lt;1&gt;</resource>"), "{sent}");
    let (step, _) = dialogue.hear(&format!("<presence/>{BOUND}")).unwrap();
    assert_eq!(step, Step::Bound(FullJid::new("alice@example.org/r1").unwrap()));
    assert!(dialogue.negotiation.features().unwrap().bind());
}

#[test]
fn without_tls_nothing_else_is_believed() {
    let mut dialogue = Dialogue::new(Tls::StartTls, true);
    let error = dialogue.stream(&mechanisms(&["PLAIN", "SCRAM-SHA-256"])).unwrap_err();
    assert_eq!(error, NegotiationError::NoTls);
    assert_eq!(error.retry(), Retry::Later);

    let mut dialogue = Dialogue::new(Tls::StartTls, true);
    dialogue.stream(STARTTLS).unwrap();
    let refused = dialogue.hear("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").unwrap_err();
    assert_eq!(refused, NegotiationError::TlsRefused);

    let mut dialogue = Dialogue::new(Tls::StartTls, true);
    dialogue.stream(STARTTLS).unwrap();
    assert!(matches!(dialogue.hear(SUCCESS), Err(NegotiationError::Unexpected(_))));
}

#[test]
fn the_strongest_mechanism_is_used_and_plain_only_if_allowed() {
    let mut dialogue = Dialogue::new(Tls::Direct, true);
    let (_, sent) = dialogue.stream(&mechanisms(&["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])).unwrap();
    assert!(sent.contains("mechanism='SCRAM-SHA-256'"), "{sent}");
    let error = Dialogue::new(Tls::Direct, false).stream(&mechanisms(&["PLAIN"])).unwrap_err();
    assert!(matches!(error, NegotiationError::Sasl(SaslError::NoMechanism { plain_refused: true, .. })));
}

#[test]
fn success_without_the_servers_proof_is_no_success() {
    let mut dialogue = Dialogue::new(Tls::Direct, false);
    dialogue.stream(&mechanisms(&["SCRAM-SHA-1"])).unwrap();
    let challenge = BASE64.encode("r=abcdefgh0XYZ,s=QSXCR+Q6sek8bf92,i=4096");
    let (step, sent) =
        dialogue.hear(&format!("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{challenge}</challenge>")).unwrap();
    assert_eq!(step, Step::Continue);
    assert!(sent.starts_with("<response"), "{sent}");
    assert_eq!(dialogue.hear(SUCCESS), Err(NegotiationError::Sasl(SaslError::WrongSignature)));
}

const FAILURE: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><malformed-request/></failure>";

fn channel() -> Channel {
    Channel { exporter: Some([7; 32]), end_point: Some(vec![8; 32]) }
}

/// The decoded message of an answer.
fn message(sent: &str) -> String {
    let text = sent.split('>').nth(1).unwrap().split('<').next().unwrap();
    String::from_utf8_lossy(&BASE64.decode(text).unwrap()).into_owned()
}

#[test]
fn a_binding_that_the_server_did_not_announce_and_does_not_know_costs_no_login() {
    let offer = mechanisms(&["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]);
    let mut dialogue = Dialogue::after(Tls::Direct, false, None, channel());
    let mut said = vec![dialogue.stream(&offer).unwrap().1];
    said.push(dialogue.hear(FAILURE).unwrap().1);
    said.push(dialogue.hear(FAILURE).unwrap().1);
    let begins: Vec<String> = said.iter().map(|sent| message(sent).split(",n=").next().unwrap().to_owned()).collect();
    assert_eq!(begins, ["p=tls-exporter,", "p=tls-server-end-point,", "n,"]);
    assert!(said[2].contains("mechanism='SCRAM-SHA-256'>"), "{}", said[2]);
    assert_eq!(dialogue.negotiation.unknown_bindings(), ChannelBinding::KINDS);
    assert!(matches!(dialogue.hear(FAILURE), Err(NegotiationError::Refused { .. })));

    // Who was bound once is not talked out of it.
    let seen = Mechanism::named("SCRAM-SHA-1-PLUS");
    let mut dialogue = Dialogue::after(Tls::Direct, true, seen, channel());
    dialogue.stream(&offer).unwrap();
    dialogue.hear(FAILURE).unwrap();
    dialogue.hear(FAILURE).unwrap();
    let challenge = BASE64.encode("r=abcdefgh2XYZ,s=QSXCR+Q6sek8bf92,i=4096");
    let error = dialogue.hear(&format!("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{challenge}</challenge>"));
    assert_eq!(error, Err(NegotiationError::Sasl(SaslError::Weaker("SCRAM-SHA-256"))));
}

#[test]
fn what_a_server_does_not_know_is_not_tried_at_every_login() {
    let names = ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
    let begin = |seen: Option<&str>, unknown: &[&'static str], announced: &str| {
        let seen = seen.and_then(Mechanism::named);
        let mut dialogue = Dialogue::knowing(Tls::Direct, false, seen, unknown.to_vec(), channel());
        let kinds = format!("<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>{announced}</sasl-channel-binding>");
        let kinds = if announced.is_empty() { "" } else { &kinds };
        let offer = mechanisms(&names).replace("</stream:features>", &format!("{kinds}</stream:features>"));
        let sent = dialogue.stream(&offer).unwrap().1;
        (message(&sent).split(",n=").next().unwrap().to_owned(), dialogue.negotiation.unknown_bindings().to_vec())
    };
    let all = ChannelBinding::KINDS;
    assert_eq!(begin(None, &all, ""), ("n,".to_owned(), all.to_vec()));
    assert_eq!(begin(Some(names[0]), &all[..1], ""), ("p=tls-server-end-point,".to_owned(), vec!["tls-exporter"]));
    // Who was bound once tries again, and so does who hears of a type.
    let exporter = ("p=tls-exporter,".to_owned(), Vec::new());
    assert_eq!(begin(Some(names[1]), &all, ""), exporter);
    assert_eq!(begin(None, &all, "<channel-binding type='tls-exporter'/>"), exporter);
}

#[test]
fn a_wrong_password_is_tried_once() {
    let mut dialogue = Dialogue::after(Tls::Direct, true, None, channel());
    dialogue.stream(&mechanisms(&["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"])).unwrap();
    let challenge = BASE64.encode("r=abcdefgh0XYZ,s=QSXCR+Q6sek8bf92,i=4096");
    let challenge = format!("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{challenge}</challenge>");
    let (_, sent) = dialogue.hear(&challenge).unwrap();
    assert!(message(&sent).starts_with("c=cD10bHMtZXhwb3J0ZXIsLAcH"), "{}", message(&sent));
    assert!(matches!(dialogue.hear(FAILURE), Err(NegotiationError::Refused { .. })));
}

#[test]
fn a_weaker_login_than_before_needs_an_offer_that_the_server_signs() {
    let seen = Mechanism::named("SCRAM-SHA-256");
    let offer = mechanisms(&["SCRAM-SHA-1", "PLAIN"]);
    let answer = |extension: &str| {
        let mut dialogue = Dialogue::after(Tls::Direct, true, seen, Channel::default());
        dialogue.stream(&offer).unwrap();
        let challenge = BASE64.encode(format!("r=abcdefgh0XYZ,s=QSXCR+Q6sek8bf92,i=4096{extension}"));
        dialogue.hear(&format!("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{challenge}</challenge>"))
    };
    let weaker = NegotiationError::Sasl(SaslError::Weaker("SCRAM-SHA-1"));
    assert_eq!(answer(""), Err(weaker.clone()));
    assert_eq!(weaker.retry(), Retry::Later);
    assert!(weaker.to_string().contains("account set"), "{weaker}");
    // SHA-1 of "PLAIN", 0x1E, "SCRAM-SHA-1".
    let signed = BASE64.encode(<sha1::Sha1 as sha1::Digest>::digest(b"PLAIN\x1eSCRAM-SHA-1"));
    assert!(answer(&format!(",x=1,h={signed}")).is_ok());
    assert_eq!(answer(",h=AAAA"), Err(NegotiationError::Sasl(SaslError::OfferChanged)));
    assert_eq!(answer(",m=1"), Err(NegotiationError::Sasl(SaslError::Malformed("an unknown mandatory extension"))));
    let mut dialogue = Dialogue::after(Tls::Direct, true, seen, Channel::default());
    let plain_only = dialogue.stream(&mechanisms(&["PLAIN"]));
    assert_eq!(plain_only, Err(NegotiationError::Sasl(SaslError::Weaker("PLAIN"))));
    assert!(!String::from_utf8_lossy(&dialogue.sent).contains("<auth"));
}

#[test]
fn refusals_say_what_to_do() {
    let refusal = |inner: &str| {
        let mut dialogue = Dialogue::new(Tls::Direct, true);
        dialogue.stream(&mechanisms(&["PLAIN"])).unwrap();
        dialogue.hear(&format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{inner}</failure>")).unwrap_err()
    };
    let wrong = refusal("<not-authorized/><text>Nope</text>");
    assert_eq!(wrong.to_string(), "the server refused the login: wrong user name or password");
    assert_eq!(wrong.retry(), Retry::Never);
    let disabled = refusal("<account-disabled/><text>Pay first</text>").to_string();
    assert!(disabled.ends_with("the account is disabled (\"Pay first\")"), "{disabled}");
    assert_eq!(refusal("<temporary-auth-failure/>").retry(), Retry::Soon);
    assert_eq!(refusal("").retry(), Retry::Later);
}

#[test]
fn who_is_told_that_it_does_not_bind_may_refuse_for_that() {
    let refused = |offer: &[&str], channel: Channel, condition: &str| {
        let mut dialogue = Dialogue::after(Tls::Direct, true, None, channel);
        let (_, sent) = dialogue.stream(&mechanisms(offer)).unwrap();
        let said_so = message(&sent).starts_with("y,");
        let failure = format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>");
        (said_so, dialogue.hear(&failure).unwrap_err())
    };
    let sha_1 = ["SCRAM-SHA-1"];
    // As ejabberd and Prosody say it; the one says so of a wrong password, too.
    for (condition, retry) in [("not-authorized", Retry::Never), ("malformed-request", Retry::Later)] {
        let (said_so, error) = refused(&sha_1, channel(), condition);
        assert!(said_so && error.to_string().contains("missing in its offer"), "{error}");
        assert_eq!(error.retry(), retry);
    }
    let disabled = refused(&sha_1, channel(), "account-disabled").1;
    assert!(matches!(disabled, NegotiationError::Refused { .. }));
    for (offer, channel) in [(&["PLAIN"][..], channel()), (&sha_1, Channel::default())] {
        let (said_so, error) = refused(offer, channel, "not-authorized");
        assert!(!said_so && matches!(error, NegotiationError::Refused { .. }), "{error}");
    }
}

#[test]
fn stream_errors_are_understood_at_any_point() {
    let error = "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    for tls in [Tls::StartTls, Tls::Direct] {
        let failure = Dialogue::new(tls, true).stream(error).unwrap_err();
        assert!(matches!(&failure, NegotiationError::Stream(error) if error.condition == "host-unknown"), "{failure}");
        assert_eq!(Dialogue::new(tls, true).stream("</stream:stream>"), Err(NegotiationError::Closed));
    }
}

#[test]
fn a_refused_resource_is_an_error() {
    let mut dialogue = Dialogue::new(Tls::Direct, true);
    dialogue.stream(&mechanisms(&["PLAIN"])).unwrap();
    dialogue.hear(SUCCESS).unwrap();
    dialogue.stream(BIND).unwrap();
    let answer = "<iq type='error' id='bind'><error type='cancel'>\
                  <conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>";
    assert_eq!(dialogue.hear(answer), Err(NegotiationError::Bind("conflict".into())));
}

#[test]
fn things_out_of_order_are_refused() {
    let mut dialogue = Dialogue::new(Tls::Direct, true);
    assert!(matches!(dialogue.stream("<message/>"), Err(NegotiationError::Unexpected(_))));
    let mut dialogue = Dialogue::new(Tls::Direct, true);
    dialogue.stream(&mechanisms(&["PLAIN"])).unwrap();
    assert!(matches!(dialogue.hear(BOUND), Err(NegotiationError::Unexpected(_))));
    let old = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    assert!(matches!(Dialogue::new(Tls::Direct, true).hear(old), Err(NegotiationError::NotXmpp(_))));
}
