use std::io::Read;

use base64::{DecodeError, Engine, prelude::BASE64_STANDARD};
use flate2::bufread::MultiGzDecoder;
use serde_json::json;

use super::{layers::announced_size, *};
use crate::testing::{encode, gzip, revision};

const PLENTY: u64 = 1 << 20;

/// A Secret with this in `data.release`.
fn secret_of(helm: &str) -> Value {
    json!({"data": {"release": BASE64_STANDARD.encode(helm)}})
}

fn config_map_of(helm: &str) -> Value {
    json!({"data": {"release": helm}})
}

fn minimal() -> Value {
    json!({"name": "web", "version": 3, "info": {"status": "deployed"}})
}

fn decode_json(json: &str) -> Result<Record, Error> {
    decode(
        &secret_of(&BASE64_STANDARD.encode(gzip(json.as_bytes()))),
        Driver::Secret,
        PLENTY,
    )
}

#[track_caller]
fn assert_refused(object: &Value, driver: Driver, expected: &str) {
    let error = decode(object, driver, PLENTY).unwrap_err();
    assert_eq!(error.to_string(), expected, "{object}");
}

#[test]
fn both_drivers_store_the_same() {
    let stored = revision(3, &[]).server_side();
    let expected: Record = serde_json::from_value(stored.content.clone()).unwrap();
    assert_eq!(expected.apply_method, Some(ApplyMethod::ServerSide));
    let secret = decode(&stored.secret(), Driver::Secret, PLENTY);
    assert_eq!(secret.unwrap(), expected);
    let config_map = decode(&stored.config_map(), Driver::ConfigMap, PLENTY);
    assert_eq!(config_map.unwrap(), expected);
}

#[test]
fn records_of_early_helm_3_are_not_compressed() {
    let plain = BASE64_STANDARD.encode(minimal().to_string());
    for decoded in [
        decode(&secret_of(&plain), Driver::Secret, PLENTY),
        decode(&config_map_of(&plain), Driver::ConfigMap, PLENTY),
    ] {
        assert_eq!(decoded.unwrap().version, 3);
    }
}

#[test]
fn line_breaks_in_base64_are_ignored_as_in_go() {
    let wrapped = |text: &str| {
        let lines: Vec<_> = text.as_bytes().chunks(76).collect();
        String::from_utf8(lines.join(&b"\r\n"[..])).unwrap() + "\n"
    };
    let record = encode(&revision(3, &[]).content);
    let edited = secret_of(&wrapped(&record));
    assert!(decode(&edited, Driver::Secret, PLENTY).is_ok());
    assert!(decode(&config_map_of(&wrapped(&record)), Driver::ConfigMap, PLENTY).is_ok());
    let folded = json!({"data": {"release": wrapped(&BASE64_STANDARD.encode(&record))}});
    assert!(decode(&folded, Driver::Secret, PLENTY).is_ok());
}

#[test]
fn missing_fields_have_their_defaults() {
    let release = decode_json(&minimal().to_string()).unwrap();
    assert_eq!(
        release,
        Record {
            name: "web".to_owned(),
            namespace: String::new(),
            version: 3,
            manifest: String::new(),
            hooks: Vec::new(),
            info: Info {
                status: Status::Deployed,
                description: String::new(),
                rollback_revision: 0,
            },
            apply_method: None,
        }
    );
}

/// Go writes `null` for a list that was never filled.
#[test]
fn null_lists_are_empty() {
    let mut record = minimal();
    record["hooks"] = Value::Null;
    let release = decode_json(&record.to_string()).unwrap();
    assert_eq!(release.hooks, []);

    record["hooks"] =
        json!([{"name": "a", "events": null, "delete_policies": null, "last_run": {"phase": ""}}]);
    let release = decode_json(&record.to_string()).unwrap();
    let [hook] = release.hooks.as_slice() else {
        panic!("one hook")
    };
    assert!(hook.events.is_empty() && hook.delete_policies.is_empty());
}

/// Nothing in the chart or in the values can make a record unreadable.
#[test]
fn the_chart_is_skipped() {
    let mut record = minimal();
    record["chart"] = json!({"version": {"name": 1}, "hooks": 2, "values": {"name": [null]}});
    record["config"] = json!({"manifest": 3});
    assert!(decode_json(&record.to_string()).is_ok());
}

#[test]
fn the_target_of_a_rollback() {
    for (name, info, expected) in [
        (
            "Helm 4",
            json!({"description": "because", "rollback_revision": 2}),
            Some(2),
        ),
        ("Helm 3", json!({"description": "Rollback to 2"}), Some(2)),
        (
            "no rollback",
            json!({"description": "Preparing upgrade"}),
            None,
        ),
        ("no description", json!({}), None),
        (
            "another description",
            json!({"description": "Rollback to the roots"}),
            None,
        ),
    ] {
        let mut record = minimal();
        record["info"] = info;
        record["info"]["status"] = "pending-rollback".into();
        let release = decode_json(&record.to_string()).unwrap();
        assert_eq!(release.info.rollback_target(), expected, "{name}");
    }
}

#[test]
fn errors_say_which_layer() {
    for (name, object) in [
        ("no data", json!({})),
        ("null", json!({"data": {"release": null}})),
        ("not a text", json!({"data": {"release": 1}})),
        ("another key", json!({"data": {"other": "a"}})),
    ] {
        let error = decode(&object, Driver::Secret, PLENTY).unwrap_err();
        assert_eq!(
            error.to_string(),
            "data.release is missing or not a string",
            "{name}"
        );
    }
    assert_refused(
        &json!({"data": {"release": "a*=="}}),
        Driver::Secret,
        "data.release: Kubernetes' base64 layer has an invalid character at byte 1",
    );
    assert_refused(
        &json!({"data": {"release": "YQ"}}),
        Driver::Secret,
        "data.release: Kubernetes' base64 layer is truncated",
    );
    assert_refused(
        &secret_of("H4sI!"),
        Driver::Secret,
        "data.release: Helm's base64 layer has an invalid character at byte 4",
    );
    assert_refused(
        &config_map_of("H4sIA"),
        Driver::ConfigMap,
        "data.release: Helm's base64 layer is truncated",
    );
    // The record of a Secret without the base64 layer of Kubernetes.
    assert_refused(
        &json!({"data": {"release": encode(&minimal())}}),
        Driver::Secret,
        "data.release: Helm's base64 layer has an invalid character at byte 0",
    );
    assert_refused(
        &secret_of(""),
        Driver::Secret,
        "data.release: JSON: EOF while parsing a value at line 1 column 0",
    );
}

#[test]
fn errors_keep_their_source() {
    let decode = |object| decode(&object, Driver::ConfigMap, PLENTY).unwrap_err();
    // The wrong symbol is content of the record.
    let error = decode(config_map_of("H4sI!"));
    assert!(
        matches!(
            error,
            Error::Base64 {
                layer: Layer::Helm,
                source: DecodeError::InvalidByte(4, 0),
            }
        ),
        "{error:?}"
    );
    let source = |error: &Error| std::error::Error::source(error).map(ToString::to_string);
    assert_eq!(
        source(&error).as_deref(),
        Some("Invalid symbol 0, offset 4.")
    );
    let truncated = &gzip(b"{}")[..12];
    let error = decode(config_map_of(&BASE64_STANDARD.encode(truncated)));
    assert_eq!(source(&error).as_deref(), Some("incomplete deflate stream"));
    let error = decode(config_map_of(&BASE64_STANDARD.encode("\n7")));
    assert!(
        matches!(&error, Error::Json { path, problem, line: 2, column: 1 }
            if path.is_empty() && problem == "expected an object"),
        "{error:?}"
    );
}

#[test]
fn broken_gzip_is_refused() {
    let whole = gzip(minimal().to_string().as_bytes());
    let refused = |bytes: &[u8]| {
        let helm = BASE64_STANDARD.encode(bytes);
        let error = decode(&secret_of(&helm), Driver::Secret, PLENTY)
            .unwrap_err()
            .to_string();
        let reason = error.strip_prefix("data.release: gzip: ");
        reason.unwrap_or_else(|| panic!("{error}")).to_owned()
    };
    // At every byte after the magic ones.
    for length in 3..whole.len() {
        refused(&whole[..length]);
    }
    assert_eq!(refused(&whole[..whole.len() - 1]), "unexpected end of file");

    let mut corrupt = whole.clone();
    corrupt[12] ^= 0xff;
    refused(&corrupt);
    let mut wrong_checksum = whole.clone();
    let at = whole.len() - 8;
    wrong_checksum[at] ^= 0xff;
    assert_eq!(
        refused(&wrong_checksum),
        "corrupt gzip stream does not have a matching checksum"
    );
    // Go reads trailing bytes as the next member.
    assert_eq!(
        refused(&[&whole[..], b"trailing bytes"].concat()),
        "invalid gzip header"
    );
}

#[test]
fn gzip_of_several_members_is_one_text() {
    let json = minimal().to_string();
    let (head, tail) = json.split_at(10);
    let members = [gzip(head.as_bytes()), gzip(tail.as_bytes())].concat();
    let helm = BASE64_STANDARD.encode(members);
    assert!(decode(&secret_of(&helm), Driver::Secret, PLENTY).is_ok());
}

#[test]
fn json_errors_say_where_and_quote_nothing() {
    let secret = "p4ssword, expected nothing";
    let with = |path: &str, value: Value| {
        let mut record = minimal();
        record["hooks"] = json!([{"weight": 1, "events": ["pre-upgrade"]}]);
        *record.pointer_mut(path).unwrap() = value;
        record.to_string()
    };
    for (json, expected) in [
        (
            with("/version", secret.into()),
            "at version: expected a whole number that is not negative at line 1 column 52",
        ),
        (
            with("/version", (-1).into()),
            "at version: expected a whole number that is not negative at line 1 column 26",
        ),
        (
            with("/version", json!({"a": secret})),
            "at version: expected a whole number that is not negative at line 1 column 24",
        ),
        (
            with("/name", 7.into()),
            "at name: expected a string at line 1 column 9",
        ),
        (
            with("/info", secret.into()),
            "at info: expected an object at line 1 column 61",
        ),
        (
            with("/info/status", json!([secret])),
            "at info.status: expected a string at line 1 column 43",
        ),
        (
            with("/hooks/0/weight", secret.into()),
            "at hooks[0].weight: expected a whole number at line 1 column 102",
        ),
        (
            with("/hooks/0/events/0", json!({secret: secret})),
            "at hooks[0].events[0]: expected a string at line 1 column 86",
        ),
        (
            with("/hooks", secret.into()),
            "at hooks: expected a list at line 1 column 91",
        ),
        (
            json!({"name": "web", "info": {"status": secret}}).to_string(),
            "missing field `version` at line 1 column 61",
        ),
        (
            r#"{"name": "p4ssword", "name": "p4ssword"}"#.to_owned(),
            "duplicate field `name` at line 1 column 27",
        ),
        (
            format!("[{secret:?}]"),
            "expected an object at line 1 column 30",
        ),
    ] {
        let error = decode_json(&json).unwrap_err().to_string();
        assert!(!error.contains("p4ssword"), "{error}");
        assert_eq!(error, format!("data.release: JSON: {expected}"), "{json}");
    }
}

/// Without a path, which could lead through keys of the chart's values.
#[test]
fn broken_json_says_where() {
    let whole = r#"{"name": "web", "config": {"p4ssword": "x"}, "version": 3, "info": {"status": "deployed"}}"#;
    for (json, expected) in [
        (
            whole.split_at(40).0,
            "EOF while parsing a string at line 1 column 40",
        ),
        (
            whole.split_at(43).0,
            "EOF while parsing an object at line 1 column 43",
        ),
        (
            &*whole.replace(": \"x\"", " \"x\""),
            "expected `:` at line 1 column 39",
        ),
        (
            &*whole.replace('3', "3,"),
            "key must be a string at line 1 column 59",
        ),
        (
            &*format!("{whole} p4ssword"),
            "trailing characters at line 1 column 92",
        ),
        ("p4ssword", "expected value at line 1 column 1"),
    ] {
        assert_eq!(
            decode_json(json).unwrap_err().to_string(),
            format!("data.release: JSON: {expected}")
        );
    }
}

#[test]
fn the_size_is_limited_to_the_byte() {
    let json = minimal().to_string();
    let size = json.len() as u64;
    let compressed = secret_of(&encode(&minimal()));
    let plain = secret_of(&BASE64_STANDARD.encode(&json));
    for (name, object) in [("compressed", compressed), ("plain", plain)] {
        assert!(decode(&object, Driver::Secret, size).is_ok(), "{name}");
        let error = decode(&object, Driver::Secret, size - 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "data.release: the decoded record is larger than {} bytes",
                size - 1
            ),
            "{name}"
        );
        assert!(decode(&object, Driver::Secret, u64::MAX).is_ok(), "{name}");
    }
}

/// 256 MiB of zeros, in a quarter of a megabyte.
#[test]
fn a_gzip_bomb_is_stopped() {
    const BLOCK: usize = 1 << 20;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let block = vec![0; BLOCK];
    for _ in 0..256 {
        std::io::Write::write_all(&mut encoder, &block).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 2 * BLOCK, "{}", bomb.len());

    for read in [read_whole, read_without_chart] {
        // It allocates no more than what is allowed.
        let mut decoder = MultiGzDecoder::new(bomb.as_slice()).take(PLENTY + 1);
        let kept = read(&mut decoder, announced_size(&bomb, PLENTY)).unwrap();
        assert_eq!(kept.capacity() as u64, PLENTY + 1);
        let error = gunzip(&bomb, PLENTY, read).unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { max_bytes: PLENTY }),
            "{error}"
        );
    }
}

#[test]
fn an_announced_size_counts_as_far_as_it_is_possible() {
    let zeros = |size: u32| [&[0; 1000][..], &size.to_le_bytes()].concat();
    for (name, bytes, max_bytes, expected) in [
        ("true", zeros(5000), PLENTY, 5001),
        ("more than allowed", zeros(5000), 100, 101),
        (
            "more than possible",
            zeros(u32::MAX),
            u64::MAX,
            1004 * 1032 + 1,
        ),
        ("nothing", vec![], PLENTY, 1),
    ] {
        assert_eq!(announced_size(&bytes, max_bytes), expected, "{name}");
    }
}

#[test]
fn the_status_alone() {
    let long = "x".repeat(1 << 20);
    for (name, release, expected) in [
        (
            "as Helm writes it",
            json!({"name": "a", "info": {"description": "d", "status": "failed", "notes": "n"}, "manifest": long, "version": 1}),
            Ok(Status::Failed),
        ),
        (
            "late",
            json!({"name": "a", "manifest": long, "version": 1, "info": {"status": "deployed"}}),
            Ok(Status::Deployed),
        ),
        (
            "long notes",
            json!({"name": "a", "info": {"status": "failed", "notes": long}, "version": 1}),
            Ok(Status::Failed),
        ),
        (
            "missing",
            json!({"name": "a", "manifest": long, "version": 1}),
            Err("data.release: JSON: missing field `info` at line 1 column 1048614"),
        ),
        (
            "of another type",
            json!({"info": {"status": 1}, "name": "a", "version": 1}),
            Err("data.release: JSON: at info.status: expected a string at line 1 column 19"),
        ),
    ] {
        let object = secret_of(&BASE64_STANDARD.encode(gzip(release.to_string().as_bytes())));
        let status = status(&object, Driver::Secret, 2 * PLENTY);
        assert_eq!(
            status.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{name}"
        );
    }
}
