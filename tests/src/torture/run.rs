//! A run of the torture, from a world's start to its end: breaks what the plan says, one after the
//! other, and counts every byte. Decides nothing that the plan's seed does not decide.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use shellgate_protocol::TerminalSize;
use tokio::time::{Instant, sleep, timeout};

use super::breaks::Break;
use super::checker::Faults;
use super::client::{Client, Left, Place, Signals, Typed};
use super::dice::Dice;
use super::doings::Doing;
use super::observer::Observer;
use super::plan::Plan;
use super::record::Account;
use super::seen::Seen;
use super::tally::Tally;
use crate::link::LinkCable;
use crate::{Cable, World};

/// Between one break and the next, in milliseconds.
const PACE: std::ops::RangeInclusive<u64> = 0..=600;

/// A run may take so long, and so long again for each break. Far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_EACH: Duration = Duration::from_secs(4);

/// The program's name in its session's home.
const GENERATOR: &str = "generator";

/// Runs a plan with the generator at this path.
///
/// # Panics
/// Where something takes too long, or does not come back at all; with what it was.
pub async fn run(plan: &Plan, generator: &Path) -> Tally {
    let patience = PATIENCE + PATIENCE_EACH * u32::try_from(plan.breaks.len()).unwrap_or(u32::MAX);
    let skeleton = tempfile::tempdir().expect("a folder");
    let program = skeleton.path().join(GENERATOR);
    std::fs::copy(generator, &program).expect("the generator is there");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("runs");
    let command = format!("exec ./{GENERATOR} {} {}", plan.seed, patience.as_secs());
    let world = World::builder()
        .set("volumes.skeleton", skeleton.path().to_str().expect("a path in UTF-8"))
        .template("torture", &["sh", "-c", &command])
        .start()
        .await;
    let started = Instant::now();
    let mut run = Run::begin(world, plan).await;
    let broken = async {
        for (one, doings) in plan.breaks.iter().zip(&plan.doings) {
            run.suffers(one, doings).await;
        }
    };
    if timeout(patience, broken).await.is_err() {
        panic!("not over within {} s: {}", patience.as_secs(), run.tally);
    }
    run.ends(started).await
}

/// A run that goes on.
struct Run {
    world: World,
    cable: Cable,
    /// Leads the link through the test, until the gateway ends.
    link: Option<LinkCable>,
    place: Place,
    /// The one who drives; taken only while another one replaces it.
    client: Option<Client>,
    clients: u32,
    typed: Vec<Typed>,
    /// Of clients that are gone.
    signals: Signals,
    /// Who came first, first.
    observers: VecDeque<Observer>,
    dice: Dice,
    tally: Tally,
}

impl Run {
    async fn begin(world: World, plan: &Plan) -> Self {
        let cable = world.cable().await;
        let user = world.user("the-tortured").through(&cable);
        let session = user.asks_for_a("torture").await.id;
        let place = Place { user, session, seed: plan.seed, size: TerminalSize::DEFAULT };
        let mut client = Client::start(&place, 0, &Seen::new(plan.seed), false).await;
        client.sees_it_begin().await;
        Self {
            world,
            cable,
            link: None,
            place,
            client: Some(client),
            clients: 1,
            typed: Vec::new(),
            signals: Signals::default(),
            observers: VecDeque::new(),
            dice: Dice::of(plan.seed, &[6]),
            tally: Tally { seed: plan.seed, ..Tally::default() },
        }
    }

    /// Breaks something while something is done, and waits until the session goes on.
    async fn suffers(&mut self, one: &Break, doings: &[Doing]) {
        sleep(Duration::from_millis(self.dice.roll(PACE))).await;
        for doing in doings {
            self.does(doing).await;
        }
        let before = self.client().attached();
        let broken_at = self.breaks(one).await;
        if let Some(at) = broken_at {
            let stands = self.client().stands_again(before).await;
            self.tally.resumes.push(stands.saturating_duration_since(at));
        }
        // The session goes on, and not only its attachment.
        let seen = self.client().seen().bytes;
        self.client().sees_more(seen).await;
        let size = self.place.size;
        self.client().sees_size(size).await;
    }

    /// Does something, and does not wait for what comes of it.
    async fn does(&mut self, doing: &Doing) {
        match doing {
            Doing::Comes { anew } => {
                let driver = self.client().seen();
                self.observers.push_back(Observer::comes(&self.place, &driver, *anew));
                self.tally.observers += 1;
            }
            Doing::Leaves => {
                let observer = self.observers.pop_front().expect("somebody watches");
                let seen = observer.leaves(self.place.size).await;
                self.tally.add_watched(&seen);
            }
            Doing::Vanishes => {
                let observer = self.observers.pop_front().expect("somebody watches");
                let seen = observer.vanishes().await;
                self.tally.add_watched(&seen);
            }
            Doing::Resizes(size) => {
                self.place.size = *size;
                self.client().resizes(*size);
                self.tally.resizes += 1;
            }
            Doing::Signals => {
                let earlier = self.signals.least;
                self.client().has_signalled(earlier).await;
                self.client().signals();
            }
        }
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("somebody drives")
    }

    /// Breaks something. Says when, where the client must come back because of it.
    async fn breaks(&mut self, one: &Break) -> Option<Instant> {
        if let Break::AtOnce(each) = one {
            let at = Instant::now();
            for one in each {
                Box::pin(self.breaks(one)).await;
            }
            return Some(at);
        }
        self.tally.broke(one.name());
        let cuts = self.cable.cuts();
        let at = Instant::now();
        match one {
            Break::Cable => self.cable.cut(),
            Break::CableReset => self.cable.reset(),
            Break::CableInOutput(bytes) => {
                self.cable.cut_after(*bytes);
                self.cable.is_cut(cuts).await;
                return Some(Instant::now());
            }
            Break::CableInInput(bytes) => {
                self.cable.cut_after_sending(*bytes);
                self.cable.is_cut(cuts).await;
                return Some(Instant::now());
            }
            Break::Stall(millis) => {
                self.cable.stall();
                sleep(Duration::from_millis(*millis)).await;
                self.cable.heal();
                return None;
            }
            Break::Unplugged(millis) => {
                self.cable.unplug();
                sleep(Duration::from_millis(*millis)).await;
                self.cable.heal();
            }
            Break::Link => self.cuts_the_link(),
            Break::LinkInOutput(bytes) => {
                self.plugs_the_link_in().await;
                let link = self.link.as_ref().expect("plugged in");
                let cuts = link.cuts();
                link.cut_after(*bytes);
                link.is_cut(cuts).await;
                return Some(Instant::now());
            }
            Break::GatewayKilled(millis) => {
                self.world.kills_the_gateway().await;
                self.starts_the_gateway_again(*millis).await;
            }
            Break::GatewayStopped(millis) => {
                self.world.stops_the_gateway().await;
                self.starts_the_gateway_again(*millis).await;
            }
            Break::ClientLeft => {
                let client = self.client.take().expect("somebody drives");
                let left = client.leaves().await;
                self.follows(left, false).await;
                return None;
            }
            Break::ClientKilled => {
                let client = self.client.take().expect("somebody drives");
                let left = client.is_killed(&self.cable).await;
                self.follows(left, true).await;
                return None;
            }
            Break::TakenOver => {
                let client = self.client.take().expect("somebody drives");
                let next = Client::start(&self.place, self.clients, &client.seen(), true).await;
                self.clients += 1;
                self.client = Some(next);
                let left = client.is_taken_over().await;
                self.counts(&left);
                return None;
            }
            Break::AtOnce(_) => {}
        }
        Some(at)
    }

    fn cuts_the_link(&self) {
        match &self.link {
            Some(link) => link.cut(),
            None => {
                self.world.link(self.place.session).cut();
            }
        }
    }

    /// Leads the link through the test from its next dial on, and has it dialled again.
    async fn plugs_the_link_in(&mut self) {
        if self.link.is_some() {
            return;
        }
        let before = self.client().attached();
        self.link = Some(self.world.link_cable(self.place.session).await);
        self.world.link(self.place.session).cut();
        self.client().stands_again(before).await;
    }

    async fn starts_the_gateway_again(&mut self, after_millis: u64) {
        // The next gateway makes a socket of its own.
        self.link = None;
        sleep(Duration::from_millis(after_millis)).await;
        self.world.starts_the_gateway_again().await;
    }

    /// Another process goes on where one is gone.
    async fn follows(&mut self, left: Left, takeover: bool) {
        let at = Instant::now();
        self.counts(&left);
        let next = Client::start(&self.place, self.clients, &left.seen, takeover).await;
        self.clients += 1;
        self.client = Some(next);
        self.tally.resumes.push(at.elapsed());
    }

    fn counts(&mut self, left: &Left) {
        self.typed.push(left.typed);
        self.signals.least += left.signals.least;
        self.signals.most += left.signals.most;
        self.tally.output += left.seen.bytes;
        let (stream, seen) = (left.typed.stream, &left.seen);
        let words = seen
            .first_fault()
            .map(|fault| format!("client {stream} from {} to {}: {fault}", seen.from, seen.next));
        self.tally.add_output(seen.faults(), words.as_deref());
    }

    /// Has the program end, and the world.
    async fn ends(mut self, started: Instant) -> Tally {
        for observer in std::mem::take(&mut self.observers) {
            let seen = observer.leaves(self.place.size).await;
            self.tally.add_watched(&seen);
        }
        let mut client = self.client.take().expect("somebody drives");
        client.has_signalled(self.signals.least).await;
        let left = client.ends().await;
        self.counts(&left);
        self.tally.took = started.elapsed();
        self.tally.clients = u64::from(self.clients);
        match left.seen.checker.account() {
            Some(account) => settle(&mut self.tally, account, &self.typed, self.signals),
            None => self.tally.words.push("output: the program's account did not come".into()),
        }
        let code = left.seen.exit.as_ref().and_then(|exit| exit.code);
        if code != Some(0) {
            self.tally.words.push(format!("the program ended with {:?}", left.seen.exit));
        }
        drop((self.link, self.cable));
        self.world.stop().await;
        self.tally
    }
}

/// Lays what the program took against what was typed, and which signals were sent.
fn settle(tally: &mut Tally, account: &Account, typed: &[Typed], signals: Signals) {
    let report = account.report;
    tally.signals = report.signals;
    tally.signal_faults.lost = signals.least.saturating_sub(report.signals);
    tally.signal_faults.repeated = report.signals.saturating_sub(signals.most);
    tally.input = report.taken;
    let faults = Faults { lost: report.lost, repeated: report.repeated, foreign: report.foreign };
    tally.add_input(faults, Some(account.fault.as_str()).filter(|fault| !fault.is_empty()));
    for Typed { stream, least, most } in typed {
        let of_stream = account.taken.iter().find(|(taken, _)| taken == stream);
        let taken = of_stream.map_or(0, |(_, taken)| *taken);
        let faults = Faults {
            lost: least.saturating_sub(taken),
            repeated: 0,
            foreign: taken.saturating_sub(*most),
        };
        let words = format!("stream {stream}: {taken} bytes taken, not {least} to {most}");
        let wrong = faults != Faults::default();
        tally.add_input(faults, Some(words.as_str()).filter(|_| wrong));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::record::Report;

    #[test]
    fn what_was_applied_and_not_taken_is_lost_and_what_was_not_typed_is_foreign() {
        let account = Account {
            report: Report { taken: 30, signals: 3, ..Report::default() },
            taken: vec![(0, 10), (2, 20)],
            fault: String::new(),
        };
        let typed = |stream, least, most| Typed { stream, least, most };
        let settled = |typed: &[Typed]| {
            let mut tally = Tally::default();
            settle(&mut tally, &account, typed, Signals { least: 3, most: 4 });
            (tally.is_clean(), tally.input_faults.lost, tally.input_faults.foreign)
        };
        assert_eq!(settled(&[typed(0, 9, 12), typed(1, 0, 5), typed(2, 20, 20)]), (true, 0, 0));
        assert_eq!(settled(&[typed(0, 12, 12)]), (false, 2, 0));
        assert_eq!(settled(&[typed(1, 4, 9)]), (false, 4, 0));
        assert_eq!(settled(&[typed(2, 5, 19)]), (false, 0, 1));
    }
}
