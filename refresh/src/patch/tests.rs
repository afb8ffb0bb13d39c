use serde_json::json;

use super::*;

#[test]
fn refusals_are_told_apart_by_their_code() {
    let status = |message: &str| json!({"kind": "Status", "message": message}).to_string();
    let denied = |text: &str| Outcome::Denied(text.to_owned());
    let unavailable = |text: &str| Outcome::Unavailable(text.to_owned());
    for (code, body, expected) in [
        (404, status("gone"), Outcome::Gone),
        (409, status("modified"), Outcome::Conflict),
        (
            400,
            status("denied the request"),
            denied("denied the request"),
        ),
        (403, status("may not"), denied("may not")),
        (403, "<html>".to_owned(), denied("403 Forbidden")),
        (422, "{}".to_owned(), denied("422 Unprocessable Entity")),
        (429, status("later"), unavailable("later")),
        (
            500,
            status("failed calling webhook"),
            unavailable("failed calling webhook"),
        ),
        (503, String::new(), unavailable("503 Service Unavailable")),
    ] {
        let code = http::StatusCode::from_u16(code).unwrap();
        assert_eq!(refused(code, body.as_bytes()), expected, "{code} {body}");
    }
}

#[test]
fn warnings_are_read_from_their_header() {
    for (header, expected) in [
        (r#"299 - "a \"b\" \\ c""#, Some(r#"a "b" \ c"#)),
        (
            r#"299 kube "plain" "Sun, 29 Nov 2026""#,
            Some(r#"plain" "Sun, 29 Nov 2026"#),
        ),
        ("299 - plain", None),
        ("", None),
        ("299 - \"", None),
    ] {
        assert_eq!(warning(header).as_deref(), expected, "{header}");
    }
}

#[test]
fn causes_are_said_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }
    let layer = |text, source| Layer {
        text,
        source: Option::map(source, Box::new),
    };
    let error = layer("a: b", Some(layer("b", Some(layer("c", None)))));
    assert_eq!(with_causes(&error), "a: b: c");
}
