//! Lists the built web page, so that the gateway carries it. Where it was not built, the gateway
//! carries a page that says how to build it.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let dist = Path::new(&root).parent().expect("the workspace").join("web/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=migrations");
    let mut code = String::from("&[\n");
    if dist.join("index.html").is_file() && dist.join("manifest.json").is_file() {
        let mut names: Vec<_> = std::fs::read_dir(&dist)
            .expect("the folder was there")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name != "manifest.json")
            .collect();
        names.sort();
        for name in names {
            let path = dist.join(&name);
            writeln!(code, "    ({name:?}, include_bytes!({path:?})),").expect("a string grows");
        }
    }
    code.push_str("]\n");
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("page.rs"), code).expect("written");
}
