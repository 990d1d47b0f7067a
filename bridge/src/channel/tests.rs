//! Channel, told by tests.

use shellgate_protocol::client_leg::{EndReason, Mode, Resume};
use shellgate_protocol::{Frame, Launch, LinkFrame};

use super::*;

const WINDOW: u64 = WINDOW_MIN as u64;
const LAUNCH: Launch = Launch(4);

fn at(offset: u64) -> Offset {
    Offset::new(offset).unwrap()
}

fn output(mode: Mode, printed: u64) -> Output {
    let mut output = Output::new(mode, TerminalSize::DEFAULT, None);
    print(&mut output, printed);
    output
}

fn print(output: &mut Output, len: u64) {
    let bytes: Vec<u8> = (0..len).map(|n| b'a' + (n % 26) as u8).collect();
    output.history.append(&bytes);
}

fn open(role: Role, output: &Output, launch: u32, has: Option<u64>) -> (Channel, Start) {
    let has = has.map(at);
    let wish = Wish { launch: Some(Launch(launch)), output: has, window: 1 };
    let mode = if output.has_screen() { Mode::Terminal } else { Mode::Lines };
    let start = wish.start(mode, LAUNCH, output).unwrap();
    let stream = InputStream::from_bits(1);
    (Channel::open(ChannelNumber(1), role, stream, wish, start, output), start)
}

/// All that the channel has to say now: control as it is, frames as kind, offset and length.
fn said(channel: &mut Channel, output: &mut Output) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(message) = channel.next(output) {
        said.push(match message {
            Outgoing::Control(control) => {
                let json = serde_json::to_value(control).unwrap();
                let field =
                    |name: &str| json.get(name).map(|f| format!(" {f}")).unwrap_or_default();
                let kind = json["type"].as_str().unwrap();
                format!("{kind}{}{}{}{}", field("kind"), field("from"), field("to"), field("at"))
            }
            Outgoing::Frame(frame) => {
                let frame = Frame::to_client(LinkFrame::parse(frame).unwrap().inner).unwrap();
                format!("{:?} {} +{}", frame.kind, frame.offset, frame.payload.len())
            }
        });
    }
    said
}

#[test]
fn it_goes_on_exactly_where_its_client_left_off_and_stops_at_the_window() {
    let mut output = output(Mode::Terminal, 300_000);
    let (mut channel, start) = open(Role::Driver, &output, 4, Some(100));
    assert_eq!((start.from, start.resume), (at(100), Resume::Exact));
    assert_eq!(said(&mut channel, &mut output), ["Data 100 +65536"]);
    assert_eq!(
        channel.acknowledge(at(70_000)),
        Err(Violation::AckBeyondSent { at: at(70_000), sent: at(100 + WINDOW) })
    );
    channel.acknowledge(at(1100)).unwrap();
    assert_eq!(said(&mut channel, &mut output), ["Data 65636 +1000"]);
}

#[test]
fn another_launch_means_from_the_beginning_and_more_than_there_is_means_no() {
    let mut output = output(Mode::Terminal, 10);
    let (mut channel, start) = open(Role::Driver, &output, 3, Some(7));
    assert_eq!((start.from, start.resume), (Offset::ZERO, Resume::Exact));
    assert_eq!(said(&mut channel, &mut output), ["notice \"new_launch\"", "Data 0 +10", "live"]);
    let wish = Wish { launch: Some(LAUNCH), output: Some(at(11)), window: 1 };
    assert!(wish.start(Mode::Terminal, LAUNCH, &output).is_err());
}

#[test]
fn what_a_driver_has_seen_comes_as_replay_and_the_border_splits_a_frame() {
    let mut output = output(Mode::Terminal, 100);
    output.history.acknowledge(Offset::ZERO, at(60));
    let (mut channel, _) = open(Role::Driver, &output, 4, Some(0));
    assert_eq!(said(&mut channel, &mut output), ["Replay 0 +60", "Data 60 +40", "live"]);
    print(&mut output, 1);
    assert_eq!(said(&mut channel, &mut output), ["Data 100 +1"]);
}

#[test]
fn sizes_stand_between_the_bytes_where_they_changed() {
    let mut output = output(Mode::Terminal, 50);
    output.resize(TerminalSize::new(100, 30).unwrap());
    print(&mut output, 50);
    let (mut channel, _) = open(Role::Observer, &output, 4, Some(0));
    let expected = ["size 0", "Data 0 +50", "size 50", "Data 50 +50", "live"];
    assert_eq!(said(&mut channel, &mut output), expected);
    let (mut channel, _) = open(Role::Observer, &output, 4, Some(60));
    assert_eq!(said(&mut channel, &mut output), ["Data 60 +40", "live"]);
}

#[test]
fn what_is_gone_is_a_gap_and_all_that_is_kept_follows() {
    let mut output = output(Mode::Terminal, 20_000_000);
    let kept = output.history.kept_from();
    let (mut channel, start) = open(Role::Driver, &output, 4, Some(5));
    assert_eq!((start.from, start.resume), (kept, Resume::Keyframe));
    let expected =
        [format!("gap 5 {kept}"), format!("Keyframe {kept} +2"), format!("Data {kept} +65536")];
    assert_eq!(said(&mut channel, &mut output), expected);
}

#[test]
fn a_program_by_lines_has_no_keyframes() {
    let mut output = output(Mode::Lines, 20_000_000);
    let kept = output.history.kept_from();
    let (mut channel, _) = open(Role::Driver, &output, 4, Some(5));
    let expected = [format!("gap 5 {kept}"), format!("Data {kept} +65536")];
    assert_eq!(said(&mut channel, &mut output), expected);
    let (mut channel, start) = open(Role::Driver, &output, 4, None);
    assert_eq!((start.from, start.resume), (output.end(), Resume::Exact));
    assert_eq!(said(&mut channel, &mut output), ["live"]);
}

#[test]
fn who_asks_for_the_newest_lines_gets_the_one_that_is_being_printed_from_its_beginning() {
    let mut output = output(Mode::Lines, 0);
    for (printed, from) in [("begun", 0), (", done\n", 12), ("an", 12), ("other\n\n", 21)] {
        output.history.append(printed.as_bytes());
        let (_, start) = open(Role::Driver, &output, 4, None);
        assert_eq!((start.from, start.resume), (at(from), Resume::Exact), "{printed:?}");
    }
}

#[test]
fn a_client_without_an_offset_gets_the_newest_screen_first() {
    let mut output = output(Mode::Terminal, 100);
    let (mut channel, start) = open(Role::Driver, &output, 4, None);
    assert_eq!((start.from, start.resume), (at(100), Resume::Keyframe));
    assert!(said(&mut channel, &mut output).is_empty() && channel.wants_keyframe());
    let keyframe = Keyframe { at: at(100), bytes: vec![b'k'; 100_000], partial: true };
    channel.give_keyframe(&keyframe, &output.sizes);
    print(&mut output, 7);
    let expected = [
        "notice \"partial_keyframe\"",
        "Keyframe 100 +65536",
        "Keyframe 100 +34464",
        "Data 100 +7",
        "live",
    ];
    assert_eq!(said(&mut channel, &mut output), expected);
}

#[test]
fn a_slow_observer_skips_to_the_newest_screen_one_keyframe_at_a_time() {
    let mut output = output(Mode::Terminal, 300_000);
    let (mut channel, _) = open(Role::Observer, &output, 4, Some(0));
    assert_eq!(said(&mut channel, &mut output).len(), 1);
    channel.tick(&output, 5_000);
    assert_eq!(channel.next_tick(5_000), Some(5_000 + SLOW_AFTER_MS));
    channel.tick(&output, 5_000 + SLOW_AFTER_MS);
    assert!(channel.wants_keyframe());
    let keyframe = Keyframe { at: output.end(), bytes: vec![b'k'], partial: false };
    channel.give_keyframe(&keyframe, &output.sizes);
    print(&mut output, 300_000);
    let expected = ["gap 65536 300000", "Keyframe 300000 +1", "Data 300000 +65536"];
    assert_eq!(said(&mut channel, &mut output), expected);
    for now in [10_000, 20_000, 30_000] {
        channel.tick(&output, now);
        assert!(!channel.wants_keyframe(), "the last keyframe is not acknowledged");
    }
    channel.acknowledge(at(300_000)).unwrap();
    channel.tick(&output, 40_000);
    assert!(channel.wants_keyframe());
}

#[test]
fn a_driver_that_grants_nothing_is_absent_until_it_grants_again() {
    let mut output = output(Mode::Terminal, WINDOW);
    let (mut channel, _) = open(Role::Driver, &output, 4, Some(0));
    assert_eq!(channel.allows(output.end()), 0);
    said(&mut channel, &mut output);
    channel.tick(&output, 1_000);
    assert!(channel.is_present(1_000 + ABSENT_AFTER_MS - 1));
    assert!(!channel.is_present(1_000 + ABSENT_AFTER_MS));
    channel.acknowledge(at(10)).unwrap();
    assert!(channel.is_present(1_000 + ABSENT_AFTER_MS));
    assert_eq!(channel.allows(output.end()), 10);
    channel.visible = false;
    assert!(!channel.is_present(0));
}

#[test]
fn the_exit_comes_once_after_the_last_byte() {
    let mut output = output(Mode::Terminal, 10);
    output.finish(ExitStatus {
        code: Some(0),
        signal: None,
        reason: EndReason::Exited,
        detail: None,
    });
    let (mut channel, _) = open(Role::Driver, &output, 4, Some(4));
    assert_eq!(said(&mut channel, &mut output), ["Data 4 +6", "live", "exit 10"]);
    assert!(channel.exit_said());
}
