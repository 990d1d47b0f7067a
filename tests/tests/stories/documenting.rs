//! What the API's document says, and what a gateway answers: the same.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use shellgate_client::session::State;
use shellgate_tests::issuer::ISSUER;
use shellgate_tests::{User, World, documented, within};

/// Where a web page of this gateway's lies.
const ORIGIN: &str = "https://shell.example.com";

/// A request: who asks how for what, with which body and which other header.
struct Asks<'a> {
    method: Method,
    path: String,
    token: Option<&'a User>,
    body: Option<(&'a str, String)>,
    header: Option<(&'a str, &'a str)>,
}

impl<'a> Asks<'a> {
    fn new(method: Method, path: impl Into<String>, user: &'a User) -> Self {
        Self { method, path: path.into(), token: Some(user), body: None, header: None }
    }

    fn stranger(mut self) -> Self {
        self.token = None;
        self
    }

    fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    fn body(mut self, kind: &'a str, body: String) -> Self {
        self.body = Some((kind, body));
        self
    }

    fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.header = Some((name, value));
        self
    }
}

#[tokio::test]
async fn every_answer_is_one_that_the_document_declares() {
    let world = World::builder()
        .set("limits.sessions_per_user", 2)
        .set("listen.origins", vec![ORIGIN])
        .template("stubborn", &["sh", "-c", "trap '' HUP TERM; echo up; while :; do sleep 1; done"])
        .start()
        .await;
    let (ada, eve) = (world.user("ada"), world.user("eve"));
    let mut seen = BTreeSet::new();
    let mut answers = async |asks: Asks<'_>, status: u16| {
        let mut request = reqwest::Client::new()
            .request(asks.method.clone(), format!("http://{}{}", world.address(), asks.path));
        if let Some(user) = asks.token {
            request = request.bearer_auth(user.token().0);
        }
        if let Some((kind, body)) = asks.body {
            request = request.header("content-type", kind).body(body);
        }
        if let Some((name, value)) = asks.header {
            request = request.header(name, value);
        }
        let answer = within("an answer", request.send()).await.expect("an answer");
        let (method, path) = (asks.method.as_str(), asks.path.as_str());
        let (answered, body) = documented::holds(method, path, answer).await;
        assert_eq!(answered, status, "{method} {path}: {body}");
        seen.insert(status);
        body
    };
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let ask = |method: &Method, path: &str| Asks::new(method.clone(), path, &ada);
    let all = "/v1/sessions";

    let served = answers(ask(&get, "/v1/openapi.json").stranger(), 200).await;
    assert_eq!(&served, documented::document());

    // Asking for one.
    let named =
        json!({ "name": "main", "template": "stubborn", "size": { "cols": 80, "rows": 24 } });
    let made = answers(ask(&post, all).json(&named), 201).await;
    answers(ask(&post, all).json(&named), 200).await;
    answers(ask(&post, all), 201).await;
    answers(ask(&post, all), 429).await;
    answers(ask(&post, all).json(&json!({ "name": "ses_1" })), 400).await;
    answers(ask(&post, all).json(&json!({ "template": "none-such" })), 400).await;
    answers(ask(&post, all).json(&json!({ "size": { "cols": 0, "rows": 24 } })), 400).await;
    answers(ask(&post, all).body("text/plain", "{}".into()), 415).await;
    answers(ask(&post, all).body("application/json", " ".repeat(20_000)), 413).await;
    answers(ask(&post, all).stranger(), 401).await;
    answers(ask(&delete, all), 405).await;

    // Looking.
    let id = made["id"].as_str().expect("an id").to_owned();
    let one = format!("{all}/{id}");
    answers(ask(&get, &format!("{all}?state=live&limit=1&all=false")), 200).await;
    answers(ask(&get, &format!("{all}?limit=1")), 200).await;
    answers(ask(&get, &format!("{all}?all=true")), 403).await;
    answers(ask(&get, &format!("{all}?state=odd")), 400).await;
    answers(Asks::new(get.clone(), format!("{all}?all=true"), &world.operator()), 200).await;
    answers(Asks::new(get.clone(), one.clone(), &world.operator()), 200).await;
    answers(ask(&get, &one), 200).await;
    answers(ask(&get, &one).header("authorization", "Basic eDp5").stranger(), 401).await;
    answers(ask(&get, &format!("{all}/none")), 400).await;
    answers(Asks::new(get.clone(), one.clone(), &eve), 404).await;
    answers(ask(&post, &one), 405).await;

    // Following, with a ticket, by a socket.
    let events = format!("{one}/events");
    let mut held = Vec::new();
    loop {
        let url = format!("http://{}{events}", world.address());
        let asked = reqwest::Client::new().get(url).bearer_auth(ada.token().0).send();
        let answer = within("events", asked).await.expect("events");
        documented::declares("GET", &events, answer.status().as_u16());
        match answer.status().as_u16() {
            200 => held.push(answer),
            status => break assert_eq!(status, 429),
        }
    }
    answers(Asks::new(get.clone(), events.clone(), &eve), 404).await;
    drop(held);
    let tickets = format!("{one}/tickets");
    let page = json!({ "origin": ORIGIN });
    answers(ask(&post, &tickets), 400).await;
    answers(ask(&post, &tickets).json(&page), 201).await;
    answers(ask(&post, &tickets).header("origin", ORIGIN), 201).await;
    answers(ask(&post, &tickets).json(&json!({ "role": "owner" })), 400).await;
    answers(ask(&post, &tickets).body("text/plain", "{}".into()), 415).await;
    answers(ask(&post, &tickets).header("origin", "https://evil.example"), 403).await;
    answers(ask(&get, &format!("{one}/attach")), 426).await;

    // Stopping.
    let id = id.parse().expect("an id");
    ada.attaches_to(id).await.shows("up").await;
    answers(ask(&delete, &one), 202).await;
    ada.sees(id, State::Stopping).await;
    answers(ask(&post, all).json(&named), 409).await;
    ada.sees_the_end_of(id).await;
    answers(ask(&delete, &one), 200).await;
    answers(Asks::new(delete.clone(), one.clone(), &eve), 404).await;

    // Removing.
    let removals = "/v1/removals";
    let whom = |user: &str| json!({ "issuer": ISSUER, "user": user });
    let root = world.operator();
    let asks = |body: &Value| Asks::new(post.clone(), removals, &root).json(body);
    answers(ask(&post, removals).json(&whom("ada")), 403).await;
    answers(asks(&whom("ada")).stranger(), 401).await;
    answers(asks(&whom("nobody")), 404).await;
    answers(asks(&json!({ "user": "ada" })), 400).await;
    answers(asks(&whom("")), 400).await;
    answers(Asks::new(post.clone(), removals, &root).body("text/plain", "{}".into()), 415).await;
    let asked = answers(asks(&whom("ada")), 202).await;
    let removal = format!("{removals}/{}", asked["id"].as_str().expect("an id"));
    root.sees_the_removal_end(asked["id"].as_str().expect("an id")).await;
    answers(Asks::new(get.clone(), removal.clone(), &root), 200).await;
    answers(asks(&whom("ada")), 200).await;
    answers(ask(&get, &removal), 403).await;
    answers(Asks::new(get.clone(), format!("{removals}/none"), &root), 404).await;

    let provoked = [200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 415, 426, 429];
    assert_eq!(seen, BTreeSet::from(provoked));
    world.stop().await;
}
