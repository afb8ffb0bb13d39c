//! A manifest: every document is objects or an error, each object has a kind, and taking out the literals
//! makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollout_guard::release_guard::{
    manifest, rendered,
    yaml::{self, Budget},
};

fuzz_target!(|text: &str| {
    if let Ok(objects) = manifest::parse(text, "shop") {
        assert!(objects.iter().all(|object| !object.id.kind.is_empty()));
    }
    let _ = rendered::release(text, "web", "shop", 2, ApplyMethod::ClientSide);
    // In a text with a tag, the parser alone is given blanks that nobody wrote, which literals are not.
    for document in manifest::documents(text).filter(|document| !document.contains('!')) {
        let as_it_is = yaml::compose(document, Vec::new(), &mut Budget::default());
        // The parser looks ahead, and further where literals are gone: it may see such a character that
        // it would not have come to. Of other errors the texts may differ.
        if as_it_is != Err("control characters are not allowed".to_owned()) {
            assert_eq!(yaml::parse(document).ok(), as_it_is.ok());
        }
    }
});
