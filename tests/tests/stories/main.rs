//! Stories: the real gateway, the real bridge in a real sandbox, the real client library, told with
//! the product's verbs. A module is told twice: as whoever runs the tests, and, where that is root,
//! once more as an ordinary user, whose sandboxes are made otherwise. [`TOLD_ONCE`] names those that
//! would show the same again.

// The SDK's futures lie many layers deep.
#![recursion_limit = "256"]

mod admitting;
mod cloud;
mod documenting;
mod driving;
mod ending;
mod enrolling;
mod entering;
mod filling;
mod forwarding;
mod isolating;
mod lines;
mod misbehaving;
mod pasting;
mod postgres;
mod removing;
mod restarting;
mod returning;
mod sharing;
mod storing;

/// The modules that are told once, and why.
const TOLD_ONCE: [(&str, &str); 8] = [
    ("cloud", "its tasks run as their definitions say, whoever runs the gateway"),
    ("documenting", "what the document declares is the same whoever made the sandbox"),
    ("entering", "who may come in is settled before there is a sandbox"),
    ("filling", "a small disk of its own is mounted, which only root may do"),
    ("forwarding", "what proxies say is read before there is a sandbox"),
    ("misbehaving", "what is said over a socket is the same whoever made the sandbox"),
    ("postgres", "what becomes of its server is the same whoever made the sandbox"),
    ("sharing", "its tasks run as their definitions say, whoever runs the gateways"),
];

#[test]
fn each_module_is_told_twice_or_says_why_not() {
    let stories = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let mut once = Vec::new();
    for file in std::fs::read_dir(stories).expect("a source tree").flatten() {
        let (path, text) = (file.path(), std::fs::read_to_string(file.path()).expect("UTF-8"));
        let module = path.file_stem().and_then(|name| name.to_str()).expect("a module's name");
        if module != "main" && !text.contains("\nfn as_an_ordinary_user() {\n") {
            once.push(module.to_owned());
        }
    }
    once.sort();
    assert_eq!(once, TOLD_ONCE.map(|(module, _)| module));
}
