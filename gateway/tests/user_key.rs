//! `shellgate-gateway user-key`: what an operator puts a user's secrets under.

use std::process::Command;

use shellgate_gateway::auth::UserId;

#[test]
fn the_program_tells_the_key_of_any_user_that_a_token_can_name() {
    let asked = |issuer: &str, subject: &str| {
        Command::new(env!("CARGO_BIN_EXE_shellgate-gateway"))
            .args(["user-key", "--issuer", issuer, "--subject", subject])
            .output()
            .expect("it runs")
    };
    let (issuer, subject) = ("https://issuer.example", "ada");
    let told = asked(issuer, subject);
    let key = UserId::new(issuer, subject).expect("a user").key();
    assert_eq!(String::from_utf8_lossy(&told.stdout), format!("{key}\n"));
    let refused = asked(issuer, "");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(64), 0));
}
