//! The two static pages: what this is (`/`), and the methods for people (`/api/browse`). No script, strict CSP.

use std::fmt::Write as _;

use crate::proto::http::Response;

use super::control::ErrorCode;
use super::methods;

const STYLE: &str = "\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 48rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: .9em ui-monospace, monospace }
pre { overflow-x: auto; padding: .5rem; border: 1px solid #8886; border-radius: .3rem }
section { border-top: 1px solid #8884; padding: .5rem 0 }
h2 { font-size: 1.1rem; margin: .5rem 0 } dt { font-weight: 600 } dd { margin: 0 0 .3rem 1.5rem } small { opacity: .7 }
";

const HOME: &str = "\
<h1>bitween</h1>
<p>This is a bitween daemon. It shares files with your XMPP contacts; the bytes travel over BitTorrent.</p>
<ul>
<li>On the command line: <code>bitween status</code>, <code>bitween shares</code>, <code>bitween --help</code>.</li>
<li>For programs: JSON-RPC 2.0 at <code>POST /api</code>; <a href=\"/api/browse\">all methods</a>.</li>
</ul>
";

/// `GET /`.
pub(super) fn home() -> Response {
    page("bitween", HOME)
}

/// `GET /style.css`.
pub(super) fn style() -> Response {
    Response::new(200, "text/css; charset=utf-8", STYLE.as_bytes())
}

/// `GET /api/browse`.
pub(super) fn browse() -> Response {
    let mut body = String::from(
        "<h1>Methods</h1>\n<p>JSON-RPC 2.0, <code>POST /api</code>, parameters by name or by position. Hashes may be \
         shortened to a unique prefix. <code>rpc.discover</code> gives this page to programs (OpenRPC).</p>\n\
         <pre>curl -d '{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"bt.get_torrents\"}' http://127.0.0.1:5000/api</pre>\n",
    );
    for method in methods::all() {
        // Writing to a String cannot fail.
        let _ = write!(
            body,
            "<section id=\"{0}\"><h2><code>{0}</code> <small>{1}</small></h2>\n<p>{2}</p>\n<dl>",
            method.name,
            method.scope.as_str(),
            escape(method.doc)
        );
        for param in method.params {
            let optional = if param.required { "" } else { " <small>optional</small>" };
            let _ = write!(body, "<dt><code>{}</code>{optional}</dt><dd>{}</dd>", param.name, escape(param.doc));
        }
        let _ = writeln!(body, "</dl><p>Result: <code>{}</code></p></section>", escape(method.result));
    }
    body.push_str("<h2>Errors</h2><dl>");
    for code in ErrorCode::ALL {
        let _ = write!(body, "<dt><code>{}</code></dt><dd>{}</dd>", code.number(), escape(code.meaning()));
    }
    body.push_str("</dl>");
    page("bitween: methods", &body)
}

fn page(title: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/style.css\"></head>\n\
         <body>\n{body}</body></html>\n"
    );
    Response::new(200, "text/html; charset=utf-8", html.into_bytes())
        .with_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
        )
        .with_header("Referrer-Policy", "no-referrer")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_place_on_the_page_and_no_markup_leaks() {
        let (head, body) = browse().encode(false, false);
        let text = String::from_utf8([head, body.into_bytes()].concat()).unwrap();
        assert!(methods::all().all(|method| text.contains(&format!("id=\"{}\"", method.name))));
        assert!(text.contains("Content-Security-Policy: default-src 'none'"));
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
