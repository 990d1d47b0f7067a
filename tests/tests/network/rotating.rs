//! An authority that is replaced by another while tasks of both times run.

use std::time::SystemTime;

use shellgate_gateway::authority;
use shellgate_tests::afar::Afar;
use shellgate_tests::until;

#[tokio::test]
async fn an_authority_is_replaced_and_no_session_ends_that_was_told_in_time() {
    let afar = Afar::start().await;
    let (old, _) = afar.authority_and_key();
    let place = tempfile::tempdir().expect("a place");
    let [new, new_key] = ["new.pem", "new.key"].map(|name| place.path().join(name));
    authority::make(&new, &new_key, SystemTime::now()).expect("an authority");
    let [new, new_key] = [new, new_key].map(|path| std::fs::read_to_string(path).expect("made"));

    let (ada, first) = (afar.user("ada"), afar.has_a_task_of("ada").await);
    let first_cable = afar.cable().await;
    let _first_bridge = first.starts_its_bridge(first_cable.address(), &afar.authority());
    let mut first_shell = ada.attaches_to(first.session).await;

    let both = format!("{old}{new}");
    let (_, old_key) = afar.authority_and_key();
    afar.keeps(&both, &old_key).await;
    assert_eq!(afar.authority(), both);
    let (bob, second) = (afar.user("bob"), afar.has_a_task_of("bob").await);
    let second_cable = afar.cable().await;
    let _second_bridge = second.starts_its_bridge(second_cable.address(), &afar.authority());
    let mut second_shell = bob.attaches_to(second.session).await;

    afar.keeps(&both, &new_key).await;
    // What stands, stands.
    first_shell.types("echo $((6 * 7)) goes on\n").await;
    first_shell.shows("42 goes on").await;
    let attached = second_shell.times_attached();
    second_cable.cut();
    second_shell.stands_again(attached).await;
    second_shell.types("echo $((6 * 7)) is back\n").await;
    second_shell.shows("42 is back").await;
    // Who was not told trusts nobody any more.
    let carried = first_cable.carried();
    first_cable.cut();
    until("it dials, twice", async || first_cable.carried() >= carried + 2).await;
    assert_eq!(first_shell.times_attached(), 1);
    drop(first_shell);
    afar.stop().await;
}
