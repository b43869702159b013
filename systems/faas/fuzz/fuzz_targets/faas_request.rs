//! Any bytes as the body of a request: it is read or refused with JSON that says what is wrong; and any text as base64.
#![no_main]

use faas::{base64, form};
use libfuzzer_sys::fuzz_target;

fn told(wrong: form::Wrong) {
    assert!(wrong.0.starts_with("{\"detail\":[{") && wrong.0.ends_with("}]}"), "{}", wrong.0);
}

fuzz_target!(|bytes: &[u8]| {
    form::register(bytes).map(drop).unwrap_or_else(told);
    form::execute(bytes).map(drop).unwrap_or_else(told);
    form::batch(bytes, 10).map(drop).unwrap_or_else(told);
    if let Ok(decoded) = base64::decode(bytes) {
        let mut text = Vec::new();
        base64::encode(&decoded, &mut text);
        assert_eq!(base64::decode(&text), Ok(decoded));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(id) = form::path_id(text, "task_id")
    {
        assert_eq!(form::path_id(&id.to_string(), "task_id"), Ok(id));
    }
});
