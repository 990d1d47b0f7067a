//! Gateways that die, stop and come back while their sessions go on.

use std::time::Duration;

use shellgate_protocol::CloseCode;
use shellgate_protocol::client_leg::EndReason;
use shellgate_tests::{Shell, World};

/// Lines of the stream that prints while the gateway goes away and comes back, in so many pieces with
/// a pause after each: it lasts for a second at least.
const LINES: u32 = 1_000_000;
const PIECES: u32 = 50;
const PAUSE: &str = "0.02";

/// Bytes of the text that is pasted meanwhile.
const PASTE: usize = 600_000;

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

#[test]
fn on_aws() {
    shellgate_tests::again::on_aws(module_path!(), &["a_faulty_file_of_secrets"]);
}

/// A shell in which a stream of numbers prints, and a paste waits for the program to read it, which
/// it does once the stream has ended.
struct Busy {
    shell: Shell,
    begin: usize,
    text: String,
}

impl Busy {
    async fn begins(world: &World) -> Self {
        let mut shell = world.user("ada").opens_a_shell().await;
        let piece = LINES / PIECES;
        let stream = format!(
            "for n in $(seq 0 {piece} {}); do seq $((n + 1)) $((n + {piece})); sleep {PAUSE}; done",
            LINES - 1,
        );
        let line = format!(
            "stty -echo; mkfifo go; echo be''gin; \
             (({stream}; echo >go) & read -r _ <go; cat >pasted; wait); echo d''one\n"
        );
        shell.types(&line).await;
        let begin = shell.finds("begin\r\n").await.end;
        shell.shows("5000\r\n").await;
        let text: String = (0..).map(|line| format!("line {line}\n")).take(PASTE / 12).collect();
        shell.pastes(text.as_bytes()).await;
        Self { shell, begin, text }
    }

    /// There is something to lose: output that has not come, and input that was not taken.
    fn is_in_the_midst_of_it(&self) {
        let come = self.shell.seen().output.len() - self.begin;
        assert!(come < whole_stream().len(), "the stream has ended");
        let (applied, typed) = self.shell.input.position();
        assert!(applied < typed, "all that was typed has been applied");
    }

    /// Both arrive whole, and once.
    async fn turns_out_whole(mut self, attached: usize) {
        self.shell.stands_again(attached).await;
        self.shell.pastes(b"\x04").await;
        let end = self.shell.finds("done\r\n").await.start;
        let stream = whole_stream();
        assert_eq!(end - self.begin, stream.len(), "no byte more and none less");
        assert!(self.shell.seen().output[self.begin..end] == *stream.as_bytes());
        assert!(self.shell.seen().gaps.is_empty());
        let size = self.shell.runs("wc -c <pasted; sort -u pasted | wc -l").await;
        let lines = self.text.lines().count();
        assert_eq!(size.replace(' ', ""), format!("{}\n{lines}", self.text.len()));
    }
}

fn whole_stream() -> String {
    (1..=LINES).map(|line| format!("{line}\r\n")).collect()
}

#[tokio::test]
async fn a_gateway_killed_while_a_stream_prints_and_a_paste_runs_loses_and_repeats_nothing() {
    let mut world = World::start().await;
    let busy = Busy::begins(&world).await;
    let attached = busy.shell.times_attached();
    busy.is_in_the_midst_of_it();
    world.kills_the_gateway().await;
    world.starts_the_gateway_again().await;
    busy.turns_out_whole(attached).await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_was_dead_for_ten_minutes_finds_its_sessions_as_they_were() {
    let mut world = World::start().await;
    let busy = Busy::begins(&world).await;
    let attached = busy.shell.times_attached();
    busy.is_in_the_midst_of_it();
    world.kills_the_gateway().await;
    world.lets_pass(Duration::from_secs(600)).await;
    world.starts_the_gateway_again().await;
    busy.turns_out_whole(attached).await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_stopped_leaves_its_sandboxes_to_the_next() {
    let mut world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("export ANSWER=$((6 * 7)); echo $$ is the sh''ell\n").await;
    shell.shows(" is the shell").await;
    let attached = shell.times_attached();
    world.stops_the_gateway().await;
    shell.types("echo typed to no gateway: $ANSWER\n").await;
    world.starts_the_gateway_again().await;
    shell.stands_again(attached).await;
    shell.shows("typed to no gateway: 42").await;
    world.stop().await;
}

#[tokio::test]
async fn a_faulty_file_of_secrets_and_a_template_that_is_gone_end_no_session_that_runs() {
    let secrets = toml::Value::Array(vec!["api-key".into()]);
    let mut world = World::builder().set("templates.agent.secrets", secrets).start().await;
    world.keeps_a_secret("ada", "api-key", "the-key-of-ada").await;
    let ada = world.user("ada");
    let mut agent = ada.opens_a("agent").await;
    let mut shell = ada.opens_a_shell().await;
    world.kills_the_gateway().await;
    std::fs::write(world.state().join("secrets.toml"), "no [ TOML").expect("written");
    world.starts_the_gateway_again().await;
    assert_eq!(agent.runs("cat /run/secrets/api-key").await, "the-key-of-ada");
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    world.kills_the_gateway().await;
    world.configures("templates", toml::Table::new());
    world.starts_the_gateway_again().await;
    assert_eq!(agent.runs("cat /run/secrets/api-key").await, "the-key-of-ada");
    world.stop().await;
}

#[tokio::test]
async fn a_replaced_secret_is_good_for_its_overlap_whatever_becomes_of_the_gateway() {
    let secrets = toml::Value::Array(vec!["api-key".into()]);
    let builder = World::builder().set("templates.agent.secrets", secrets);
    let builder = builder.set("secrets.max_age", "1s").set("secrets.overlap", "8s");
    let mut world = builder.start().await;
    world.keeps_a_secret("ada", "api-key", "the-first-key").await;
    let mut shell = world.user("ada").opens_a("agent").await;
    assert_eq!(shell.runs("ls /run/secrets").await, "api-key");
    world.keeps_a_secret("ada", "api-key", "the-second-key").await;
    let waits = "cd /run/secrets; until grep -q second api-key; do sleep 0.1; done; cat *.previous";
    assert_eq!(shell.runs(waits).await, "the-first-key");
    // Counted from after the replacement: never more than the overlap.
    shell
        .types("cd /run/secrets; SECONDS=0; while [ -e api-key.previous ]; do sleep 0.1; done; ")
        .await;
    shell.types("echo la''sted $((SECONDS >= 5)) $((SECONDS <= 15)) $(ls) $(cat *)\n").await;
    let attached = shell.times_attached();
    world.kills_the_gateway().await;
    world.starts_the_gateway_again().await;
    shell.stands_again(attached).await;
    shell.shows("lasted 1 1 api-key the-second-key").await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_interrupted_takes_its_sandboxes_with_it_and_says_so() {
    let mut world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    let session = shell.session();
    world.interrupts_the_gateway().await;
    assert_eq!(shell.exits().await.reason, EndReason::Shutdown);
    shell.closes_with(CloseCode::Ended).await;
    world.starts_the_gateway_again().await;
    let ended = world.user("ada").looks_at(session).await.ended.expect("it has ended");
    assert_eq!(ended.reason, EndReason::Shutdown);
    world.stop().await;
}
