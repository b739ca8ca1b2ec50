//! What time it is for the server (XEP-0202), in the format of XEP-0082.

use minidom::Element;
use quick_xml::escape::escape;

/// Its namespace.
const NS: &str = "urn:xmpp:time";
/// Id of the question; there is one a stream.
const ID: &str = "what-time";

/// The question to a server.
#[must_use]
pub fn question(domain: &str) -> String {
    format!("<iq xmlns='jabber:client' type='get' id='{ID}' to='{}'><time xmlns='{NS}'/></iq>", escape(domain))
}

/// Is this stanza the answer? Then the seconds since 1970 that it tells, if it tells any.
#[must_use]
pub fn answer(stanza: &Element) -> Option<Option<i64>> {
    if stanza.name() != "iq" || stanza.attr("id") != Some(ID) {
        return None;
    }
    let time = stanza.get_child("time", NS).and_then(|time| time.get_child("utc", NS));
    Some(time.and_then(|utc| unix_seconds(utc.text().trim())))
}

/// Reads "2006-12-19T17:58:35.5Z". Fractions do not matter here.
fn unix_seconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let time = time.split('.').next()?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let sane = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (hour < 24 && minute < 60 && second < 61);
    // Years are counted from March, so the leap day is the last day of a year and months follow one formula.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // Days from 0000-03-01 to 1970-01-01.
    sane.then(|| (days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Three numbers of at most four digits.
fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let number = |part: &str| {
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    };
    let mut parts = text.split(between).map(number);
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_nonsense_is_not() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.123Z", 951_825_600),
            ("2006-12-19T17:58:35Z", 1_166_551_115),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(unix_seconds(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "Z",
            "T",
            "2006-12-19T17:58:35",
            "2006-12-19 17:58:35Z",
            "2006-13-19T17:58:35Z",
            "0000-01-01T00:00:00Z",
            "2006-12-19T24:00:00Z",
            "2006-12-19T17:58Z",
            "2006-12-19T17:58:35:1Z",
            "+006-12-19T17:58:35Z",
            "99999999999999999999-12-19T17:58:35Z",
            "2006-12-19T17:58:-5Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_answer_is_taken_for_it() {
        let stanza = |xml: &str| xml.parse::<Element>().unwrap();
        assert!(question("a'b").contains("to='a&apos;b'"));
        let iq = |id: &str, inside: &str| stanza(&format!("<iq xmlns='jabber:client' id='{id}'>{inside}</iq>"));
        let time = "<time xmlns='urn:xmpp:time'><tzo>+01:00</tzo><utc>1970-01-02T00:00:00Z</utc></time>";
        assert_eq!(answer(&iq(ID, time)), Some(Some(86_400)));
        assert_eq!(answer(&iq(ID, "<error/>")), Some(None));
        assert_eq!(answer(&iq("other", time)), None);
        assert_eq!(answer(&stanza("<message xmlns='jabber:client'/>")), None);
    }
}
