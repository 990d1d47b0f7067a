//! The clocks, told what a session's people do.

use proptest::prelude::*;

use super::*;

/// Some moment in the past.
const BEGAN: i64 = 1_700_000_000_000;

const TERMS: Terms = Terms {
    idle: Duration::from_secs(1800),
    lifetime: Duration::from_secs(43_200),
    longest_life: Duration::from_secs(86_400),
};

fn at(seconds: i64) -> i64 {
    BEGAN + seconds * 1000
}

fn clock(idle: u64, lifetime: u64, longest_life: u64) -> IdleClock {
    let [idle, lifetime, longest_life] = [idle, lifetime, longest_life].map(Duration::from_secs);
    IdleClock::new(at(0), at(0), Terms { idle, lifetime, longest_life })
}

fn idle_clock() -> IdleClock {
    IdleClock::new(at(0), at(0), TERMS)
}

fn stats(cpu_ms: u64, foreground_job: bool) -> Stats {
    Stats { cpu_ms, foreground_job, ..Stats::default() }
}

fn look(clock: &mut IdleClock, second: i64) -> Verdict {
    clock.look(at(second), None, None)
}

fn report(clock: &mut IdleClock, second: i64, cpu_ms: u64, foreground_job: bool) -> Verdict {
    clock.look(at(second), None, Some(&stats(cpu_ms, foreground_job)))
}

fn idle_warning(seconds: u64) -> Verdict {
    Verdict::Warn(Notice::IdleWarning { seconds })
}

fn lifetime_warning(seconds: u64) -> Verdict {
    Verdict::Warn(Notice::LifetimeWarning { seconds })
}

#[test]
fn an_idle_session_is_warned_at_five_minutes_and_at_one_and_then_ends() {
    let mut clock = idle_clock();
    let said: Vec<_> = (0..=1800)
        .map(|second| (second, look(&mut clock, second)))
        .filter(|(_, verdict)| *verdict != Verdict::Fine)
        .collect();
    assert_eq!(
        said,
        [
            (1500, idle_warning(300)),
            (1740, idle_warning(60)),
            (1800, Verdict::Stop(EndReason::Idle))
        ]
    );
    assert_eq!(
        clock.evidence(),
        "live since 2023-11-14T22:13:20Z, last work its beginning here at 2023-11-14T22:13:20Z, \
         idle limit 1800 s, end of life 2023-11-15T10:13:20Z"
    );
}

#[test]
fn who_comes_between_two_warnings_is_told_what_stands() {
    let mut clock = idle_clock();
    assert_eq!(clock.standing(at(1499)), None);
    assert_eq!(look(&mut clock, 1500), idle_warning(300));
    assert_eq!(clock.standing(at(1600)), Some(Notice::IdleWarning { seconds: 200 }));
    assert_eq!(look(&mut clock, 1740), idle_warning(60), "the next one comes all the same");
    assert_eq!(clock.standing(at(1799)), Some(Notice::IdleWarning { seconds: 1 }));
    clock.look(at(1799), Some(at(1799)), None);
    assert_eq!(clock.standing(at(1799)), None, "a key has taken it back");
    assert_eq!(clock.standing(at(1799 + 1800)), None, "nobody is told of no seconds");
}

#[test]
fn of_an_adopted_session_the_end_of_its_life_stands_though_nobody_heard_of_it() {
    let mut clock = IdleClock::new(at(43_000), at(0), TERMS);
    assert_eq!(look(&mut clock, 43_000), lifetime_warning(200));
    assert_eq!(clock.standing(at(43_010)), Some(Notice::LifetimeWarning { seconds: 190 }));
    clock.extend(at(43_010));
    assert_eq!(clock.standing(at(43_010)), None);
}

#[test]
fn nothing_stands_of_a_clock_that_is_shorter_than_a_warning() {
    assert_eq!(clock(120, 10_000, 10_000).standing(at(10)), None);
    let of_a_minute = clock(61, 10_000, 10_000).standing(at(1));
    assert_eq!(of_a_minute, Some(Notice::IdleWarning { seconds: 60 }));
}

#[test]
fn a_keystroke_takes_a_warning_back_so_that_it_comes_again() {
    let mut clock = idle_clock();
    assert_eq!(look(&mut clock, 1500), idle_warning(300));
    assert_eq!(clock.look(at(1511), Some(at(1510)), None), Verdict::Fine);
    assert_eq!(clock.idle_ms(), Some(at(1510 + 1800)));
    assert_eq!(clock.look(at(3010), Some(at(1510)), None), idle_warning(300));
    assert!(clock.evidence().contains("a keystroke"));
}

#[test]
fn a_late_look_gives_the_warning_that_is_true_then() {
    let mut clock = idle_clock();
    assert_eq!(look(&mut clock, 1760), idle_warning(40));
    assert_eq!(look(&mut clock, 1761), Verdict::Fine);
}

#[test]
fn a_job_in_the_foreground_is_work_until_its_end() {
    let mut clock = idle_clock();
    assert_eq!(report(&mut clock, 10, 0, true), Verdict::Fine);
    assert_eq!((clock.idle_ms(), look(&mut clock, 39_000)), (None, Verdict::Fine));
    assert_eq!(report(&mut clock, 40_000, 0, false), Verdict::Fine);
    assert_eq!(clock.idle_ms(), Some(at(41_800)));
}

#[test]
fn an_open_turn_of_an_agent_is_work_until_its_end() {
    let mut clock = idle_clock();
    clock.turn(true, at(5));
    assert_eq!(look(&mut clock, 30_000), Verdict::Fine);
    clock.turn(false, at(30_000));
    assert_eq!(clock.idle_ms(), Some(at(31_800)));
    clock.turn(false, at(30_100));
    assert_eq!(clock.idle_ms(), Some(at(31_800)), "an answer to nothing is no work");
}

#[test]
fn a_busy_background_is_work_and_a_ticking_one_is_not() {
    let mut clock = idle_clock();
    report(&mut clock, 10, 5_000, false);
    assert_eq!(clock.idle_ms(), Some(at(1800)), "a first report has nothing before it");
    report(&mut clock, 20, 5_010, false);
    assert_eq!(clock.idle_ms(), Some(at(1800)), "a thousandth of a core is rest");
    report(&mut clock, 30, 6_010, false);
    assert_eq!(clock.idle_ms(), Some(at(1830)));
    // Nothing changed for long, then a second of work: that was just now.
    report(&mut clock, 1500, 7_010, false);
    assert_eq!(clock.idle_ms(), Some(at(3300)));
}

#[test]
fn a_report_that_only_says_the_bridge_is_there_is_no_work() {
    let mut clock = idle_clock();
    for second in 1..1800 {
        let mut same = stats(70, false);
        (same.processes, same.memory) = (3, second);
        clock.look(at(second as i64), Some(0), Some(&same));
    }
    assert_eq!(look(&mut clock, 1800), Verdict::Stop(EndReason::Idle));
}

#[test]
fn a_clock_shorter_than_a_warning_does_without_it() {
    let mut short = clock(120, 10_000, 10_000);
    assert_eq!(look(&mut short, 0), Verdict::Fine);
    assert_eq!(look(&mut short, 59), Verdict::Fine);
    assert_eq!(look(&mut short, 60), idle_warning(60));
    let mut shorter = clock(2, 10_000, 10_000);
    assert_eq!(look(&mut shorter, 1), Verdict::Fine);
    assert_eq!(look(&mut shorter, 2), Verdict::Stop(EndReason::Idle));
}

#[test]
fn a_life_ends_in_the_middle_of_work_and_can_be_extended_up_to_its_limit() {
    let mut clock = clock(500, 1000, 1500);
    report(&mut clock, 1, 0, true);
    assert_eq!(look(&mut clock, 950), lifetime_warning(50));
    assert_eq!(clock.extend(at(950)), Duration::from_secs(550));
    assert_eq!(look(&mut clock, 951), Verdict::Fine);
    assert_eq!(clock.extend(at(1400)), Duration::from_secs(100));
    assert_eq!(look(&mut clock, 1500), Verdict::Stop(EndReason::Lifetime));
}

#[test]
fn an_extension_says_what_is_left_of_the_clock_that_runs_out_first() {
    assert_eq!(idle_clock().extend(at(60)), TERMS.idle);
}

#[test]
fn a_stored_end_of_life_holds_after_a_restart_within_the_limit() {
    let mut clock = clock(500, 1000, 1500);
    clock.ends_at(at(1200));
    assert_eq!(clock.ends_ms(), at(1200));
    clock.ends_at(at(9999));
    assert_eq!(clock.ends_ms(), at(1500));
}

#[derive(Debug, Clone)]
enum Told {
    Typed,
    Extend,
    Report { used_ms: u64, foreground_job: bool },
    Turn(bool),
    Nothing,
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        Just(Told::Typed),
        Just(Told::Extend),
        (0u64..200, any::<bool>())
            .prop_map(|(used_ms, foreground_job)| Told::Report { used_ms, foreground_job }),
        any::<bool>().prop_map(Told::Turn),
        Just(Told::Nothing),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_told_brings_an_end_nearer_and_no_end_comes_early_or_late(
        steps in proptest::collection::vec((0i64..400, told()), 1..300)
    ) {
        let mut clock = idle_clock();
        let (mut now, mut cpu, mut last, mut worked) = (0, 0, at(1800), 0);
        // Told again at each look, as long as there is no newer one.
        let mut typed = None;
        for (pause, told) in steps {
            now += pause;
            let ends = clock.ends_ms();
            let mut reported = None;
            let certain = match told {
                Told::Typed => { typed = Some(at(now)); true }
                Told::Extend => { clock.extend(at(now)); true }
                Told::Report { used_ms, foreground_job } => {
                    cpu += used_ms;
                    reported = Some(stats(cpu, foreground_job));
                    foreground_job
                }
                Told::Turn(open) => { clock.turn(open, at(now)); open }
                Told::Nothing => false,
            };
            if certain { worked = now; }
            let verdict = clock.look(at(now), typed, reported.as_ref());
            prop_assert!(clock.ends_ms() >= ends && clock.ends_ms() <= at(86_400));
            prop_assert_eq!(
                verdict == Verdict::Stop(EndReason::Lifetime), at(now) >= clock.ends_ms()
            );
            if let Some(idle) = clock.idle_ms() {
                prop_assert!(idle >= last, "nearer");
                prop_assert!(idle >= at(worked + 1800), "early");
                prop_assert!(idle <= at(now + 1800), "from nothing");
                last = idle;
            }
            if at(now) < clock.ends_ms() {
                let up = clock.idle_ms().is_some_and(|idle| idle <= at(now));
                prop_assert_eq!(verdict == Verdict::Stop(EndReason::Idle), up);
            }
        }
    }

    #[test]
    fn whoever_looks_every_second_hears_each_warning_of_a_clock_once(idle in 1u64..4000) {
        let mut clock = clock(idle, 100_000, 100_000);
        let mut heard = Vec::new();
        for second in 0.. {
            match look(&mut clock, second) {
                Verdict::Fine => {}
                Verdict::Warn(Notice::IdleWarning { seconds }) => heard.push(seconds),
                Verdict::Stop(EndReason::Idle) => break,
                other => prop_assert!(false, "{other:?}"),
            }
        }
        let owed: Vec<_> = [300, 60].into_iter().filter(|warning| *warning < idle).collect();
        prop_assert_eq!(heard, owed);
    }
}
