//! What a program in a sandbox can see and do, and what of others is absent.

use shellgate_tests::World;

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

#[test]
fn on_aws() {
    // These speak of what only a sandbox has: a socket to dial, no network, a uid of 1000.
    let of_sandboxes = ["floods_its_dial_socket", "no_network", "nothing_of_the_host"];
    shellgate_tests::again::on_aws(module_path!(), &of_sandboxes);
}

#[tokio::test]
async fn another_users_files_and_processes_are_absent() {
    let world = World::start().await;
    // No name that an id in hexadecimal may have in it.
    let mut ada = world.user("lovelace").opens_a_shell().await;
    let mut eve = world.user("eve").opens_a_shell().await;
    assert_eq!(
        ada.runs("echo private >~/diary; echo also >/tmp/note; cat ~/diary").await,
        "private"
    );
    assert_eq!(eve.runs("ls -A ~ /tmp | grep -c -e diary -e note").await, "0");
    ada.types("exec -a ada-was-here sleep 1000\n").await;
    ada.is_taken_in().await;
    assert_eq!(
        eve.runs("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '[a]da-was-here'").await,
        "0"
    );
    // Whose home it is on the machine is nobody's business either.
    assert_eq!(eve.runs("grep -c lovelace /proc/self/mountinfo").await, "0");
    world.stop().await;
}

#[tokio::test]
async fn a_users_two_sessions_share_their_files_and_nothing_else() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut one = ada.opens_a_shell().await;
    let mut two = ada.opens_a_shell().await;
    assert_eq!(one.runs("echo shared >~/file; echo own >/tmp/file; echo $?").await, "0");
    assert_eq!(two.runs("cat ~/file").await, "shared");
    assert_eq!(two.runs("ls -A /tmp").await, "");
    one.types("exec -a first-session sleep 1000\n").await;
    one.is_taken_in().await;
    assert_eq!(
        two.runs("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '[f]irst-session'").await,
        "0"
    );
    world.stop().await;
}

#[tokio::test]
async fn files_outlive_their_session() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    assert_eq!(shell.runs("echo kept >~/file; cat ~/file").await, "kept");
    shell.types("exit\n").await;
    shell.exits().await;
    let mut shell = ada.opens_a_shell().await;
    assert_eq!(shell.runs("cat ~/file").await, "kept");
    world.stop().await;
}

#[tokio::test]
async fn the_bridge_shows_nothing_of_itself_and_cannot_be_stopped() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    assert_eq!(shell.runs("cat /proc/1/environ 2>/dev/null | wc -c").await, "0");
    assert_eq!(shell.runs("ls /proc/1/fd 2>/dev/null | wc -l").await, "0");
    assert_eq!(shell.runs("cat /proc/1/mem 2>/dev/null | wc -c").await, "0");
    assert_eq!(shell.runs("env | grep -ci -e token -e _fd=").await, "0");
    assert_eq!(shell.runs("kill -STOP 1; kill -KILL 1; kill -TSTP 1; echo $((6 * 7))").await, "42");
    // Its uid is theirs, and a processor time of one second would be its end.
    let limit = "prlimit --pid 1 --cpu=1:1 2>/dev/null; echo $?";
    assert_eq!(shell.runs(limit).await, "1");
    assert_eq!(shell.runs("grep -c 'cpu time  *unlimited  *unlimited' /proc/1/limits").await, "1");
    world.stop().await;
}

/// Dials as fast as a program can, says half a request, and holds what it gets.
const FLOOD: &str = r#"perl -MSocket -e '
    my ($dials, @held);
    $SIG{PIPE} = "IGNORE";
    while (1) {
        socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die;
        next unless connect($s, pack_sockaddr_un("/run/gw/dial.sock"));
        syswrite($s, "GET /internal/ta");
        push @held, $s;
        shift @held if @held > 64;
        print "flood", "ing\n" if ++$dials == 200;
    }' & "#;

/// The same by processes that are gone before anybody can ask who they were.
const FLOOD_OF_THE_GONE: &str = r#"perl -MSocket -e '
    my ($dials, @held);
    $SIG{CHLD} = "IGNORE";
    while (1) {
        socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die;
        my $child = fork;
        if (defined $child && !$child) {
            connect($s, pack_sockaddr_un("/run/gw/dial.sock"));
            exit;
        }
        push @held, $s;
        shift @held if @held > 64;
        print "flood", "ing\n" if ++$dials == 200;
    }' & "#;

#[tokio::test]
async fn a_program_that_floods_its_dial_socket_does_not_keep_its_bridge_from_coming_back() {
    let mut world = World::builder().set("limits.severed_deadline", "20s").start().await;
    for flood in [FLOOD, FLOOD_OF_THE_GONE] {
        let mut shell = world.user("ada").opens_a_shell().await;
        shell.types(&flood.replace('\n', " ")).await;
        shell.types("\n").await;
        shell.shows("flooding").await;
        let attached = shell.times_attached();
        world.kills_the_gateway().await;
        world.starts_the_gateway_again().await;
        shell.stands_again(attached).await;
        assert_eq!(shell.runs("kill %1; echo $((6 * 7))").await, "42");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_sandbox_has_no_network_and_says_so() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.shows("No network").await;
    let port = world.address().port();
    let dial = format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; echo $?");
    assert_eq!(shell.runs(&dial).await, "1");
    assert_eq!(shell.runs("grep -vc -e Inter -e face -e lo: /proc/net/dev").await, "0");
    world.stop().await;
}

#[tokio::test]
async fn nothing_of_the_host_can_be_written() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    for path in ["/x", "/usr/x", "/etc/x", "/run/gw/x", "/run/shellgate/x", "/dev/x"] {
        assert_eq!(
            shell.runs(&format!("(echo >{path}) 2>/dev/null; echo $?")).await,
            "1",
            "{path}"
        );
    }
    assert_eq!(shell.runs("id -u").await, "1000");
    assert_eq!(shell.runs("grep -c '^Cap[A-Z][a-z]*:.*[1-9a-f]' /proc/self/status").await, "0");
    world.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_made_later_reaches_a_program_that_runs() {
    let secrets = toml::Value::Array(vec!["api-key".into()]);
    let builder = World::builder().set("templates.agent.secrets", secrets);
    let world = builder.set("secrets.max_age", "1s").start().await;
    let mut shell = world.user("ada").opens_a("agent").await;
    assert_eq!(shell.runs("ls /run/secrets").await, "");
    world.keeps_a_secret("ada", "api-key", "the-key").await;
    let waits = "until [ -s /run/secrets/api-key ]; do sleep 0.1; done; cat /run/secrets/api-key";
    assert_eq!(shell.runs(waits).await, "the-key");
    world.stop().await;
}

#[tokio::test]
async fn secrets_reach_their_program_and_nobody_elses() {
    let secrets: toml::Value = toml::Value::try_from(serde_json::json!([
        { "name": "api-key", "env": "API_KEY" }, "certificate"
    ]))
    .expect("TOML");
    let world = World::builder().set("templates.agent.secrets", secrets).start().await;
    world.keeps_a_secret("ada", "api-key", "the-key-of-ada").await;
    world.keeps_a_secret("ada", "certificate", "two\nlines").await;
    world.keeps_a_secret("ada", "unused", "not-for-this-template").await;
    world.keeps_a_secret("eve", "api-key", "the-key-of-eve").await;
    let mut ada = world.user("ada").opens_a("agent").await;
    assert_eq!(ada.runs("echo $API_KEY").await, "the-key-of-ada");
    assert_eq!(ada.runs("cat /run/secrets/api-key").await, "the-key-of-ada");
    assert_eq!(ada.runs("cat /run/secrets/certificate").await, "two\nlines");
    assert_eq!(ada.runs("ls /run/secrets").await, "api-key\ncertificate");
    assert_eq!(ada.runs("stat -f -c %T /run/secrets").await, "tmpfs");
    let mut eve = world.user("eve").opens_a("agent").await;
    assert_eq!(eve.runs("echo $API_KEY; ls /run/secrets").await, "the-key-of-eve\napi-key");
    let mut other = world.user("ada").opens_a_shell().await;
    assert_eq!(other.runs("echo [$API_KEY]; ls /run/secrets 2>/dev/null").await, "[]");
    world.stop().await;
}

#[tokio::test]
async fn a_program_gets_its_templates_environment_and_place() {
    let world = World::builder()
        .set("templates.agent.env.GREETING", "hello there")
        .set("templates.agent.cwd", "/usr/lib")
        .start()
        .await;
    let mut shell = world.user("ada").opens_a("agent").await;
    assert_eq!(shell.runs("echo $GREETING").await, "hello there");
    assert_eq!(shell.runs("pwd").await, "/usr/lib");
    world.stop().await;
}

#[tokio::test]
async fn a_letter_of_several_bytes_is_one_letter_to_the_shell() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("printf '<%s>\\n' \"a\u{e4}\u{7f}b\"\n").await;
    shell.shows("<ab>\r\n").await;
    assert_eq!(shell.runs("echo ${PATH%%:*}").await, "/home/agent/.local/bin");
    world.stop().await;
}

#[tokio::test]
async fn a_fork_bomb_stays_in_its_sandbox() {
    let world = World::builder().set("templates.small.limits.pids", 32).start().await;
    let shell = world.user("ada").opens_a("small").await;
    let mut other = world.user("eve").opens_a("small").await;
    shell.types("(for i in $(seq 100); do sleep 1000 & done) 2>/dev/null; echo s''pent\n").await;
    shell.is_taken_in().await;
    assert_eq!(other.runs("bash -c 'echo fine'").await, "fine");
    world.user("ada").stops(shell.session()).await;
    world.user("ada").sees_the_end_of(shell.session()).await;
    world.stop().await;
}
