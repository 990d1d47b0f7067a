//! A mebibyte that is pasted at once: whoever it goes to takes its time, and output goes on.

use std::time::Duration;

use shellgate_tests::World;
use shellgate_tests::checksum::checksum;

/// A busy machine takes its time with an editor.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

/// A mebibyte of short lines, which no terminal cuts.
fn text() -> String {
    (0..).map(|line| format!("line {line:09}\n")).take((1 << 20) / 15).collect()
}

#[tokio::test]
async fn what_is_pasted_into_a_stopped_program_waits_and_output_goes_on() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    // Without job control the shell waits for its stopped child as for one that runs.
    shell.types("set +m; stty -echo; echo rea''dy\n").await;
    shell.shows("ready\r\n").await;
    let stopped = "sh -c 'echo $$ >pid; kill -STOP $$; exec cat >pasted'";
    let meanwhile = "(read -r _ <go; seq 200000; echo pr''inted; kill -CONT $(cat pid))";
    shell.types(&format!("mkfifo go; {meanwhile} & {stopped}; echo d''one\n")).await;
    let text = text();
    shell.pastes(text.as_bytes()).await;
    shell.pastes(b"\x04").await;
    let mut other = world.user("ada").opens_a_shell().await;
    other.runs("echo >go").await;
    shell.finds_within(PATIENCE, "printed\r\n").await;
    shell.finds_within(PATIENCE, "done\r\n").await;
    assert_eq!(shell.runs("cksum <pasted").await, checksum(&text));
    world.stop().await;
}

#[tokio::test]
async fn a_mebibyte_pasted_into_an_editor_arrives_whole() {
    if !std::path::Path::new("/usr/bin/vim").exists() {
        return println!("left out: there is no /usr/bin/vim here");
    }
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("vim -N -u NONE -i NONE -n pasted; echo d''one\n").await;
    shell.types("i").await;
    let text = text();
    shell.pastes(text.as_bytes()).await;
    // The line on which the cursor was left is one more, and empty.
    shell.types("\x1bdd:wq\r").await;
    shell.finds_within(PATIENCE, "done\r\n").await;
    assert_eq!(shell.runs("cksum <pasted").await, checksum(&text));
    world.stop().await;
}
