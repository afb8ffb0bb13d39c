//! A manifest is read as objects that each have a kind, or is an error. The fast way to read a document, which
//! takes the literals out first, gives the same value as the slow one.
#![no_main]

use helm_plan::{
    lifecycle::ApplyMethod,
    manifest, rendered,
    yaml::{self, Error, Problem},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(objects) = manifest::parse(text, "shop") {
        assert!(objects.iter().all(|object| !object.id.kind.is_empty()));
    }
    let _ = rendered::release(text, "web", "shop", 2, ApplyMethod::ClientSide);
    // If a text has a tag, blanks are added to it before it is parsed, but not to its literals.
    for document in manifest::documents(text).filter(|document| !document.contains('!')) {
        let whole = yaml::parse_whole(document);
        if !has_control_character(&whole) {
            assert_eq!(yaml::parse(document).ok(), whole.ok());
        }
    }
});

/// The parser reads ahead, and reaches further if literals were taken out. It may then see a control character
/// that it would not have reached.
fn has_control_character<T>(result: &Result<T, Error>) -> bool {
    matches!(
        result,
        Err(Error {
            problem: Problem::Syntax("control characters are not allowed"),
            ..
        })
    )
}
