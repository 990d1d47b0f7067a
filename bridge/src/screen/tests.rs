//! Whether a keyframe says what its screen says, whatever was printed.

use proptest::prelude::*;

use super::*;

const SMALL: (u16, u16) = (20, 6);

fn screen(cols: u16, rows: u16) -> Screen {
    Screen::new(TerminalSize::new(cols, rows).unwrap())
}

fn showing(printed: &str) -> Screen {
    let mut screen = screen(SMALL.0, SMALL.1);
    screen.feed(printed.as_bytes());
    screen
}

/// Everything of a screen that the output after it can tell.
fn state(screen: &Screen) -> Vec<String> {
    let terminal = &screen.terminal;
    let mut state = vec![format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {} {} {:?}",
        terminal.cursor,
        terminal.pen,
        terminal.charsets,
        terminal.saved,
        terminal.modes,
        terminal.margins,
        terminal.tabs,
        terminal.title,
        terminal.cursor_style,
        terminal.other_keys,
        screen.parser.unfinished(),
    )];
    for grid in [Some(&terminal.primary), terminal.alternate.as_ref()].into_iter().flatten() {
        for (at, row) in grid.iter().enumerate() {
            let joins = keyframe::joins(row, grid.get(at + 1), terminal.cols);
            let cells = (0..terminal.cols).map(|column| row.shown(column, terminal.cols));
            state.push(format!("{} {:?}", joins, cells.collect::<Vec<_>>()));
        }
    }
    state
}

fn restored(original: &Screen, max: usize) -> Screen {
    let (cols, rows) = (original.terminal.cols, original.terminal.rows);
    let mut restored = screen(cols, rows);
    // A terminal that somebody has used before, and left in the midst of a sequence.
    restored.feed(
        b"\x1b[?1049h\x1b[2;3r\x1b[?6h\x1b(0\x1b[4h\x1b[?1003h\x1b[7;41mrubbish\x1b[3g\x1b]2;half",
    );
    let keyframe = original.keyframe(max);
    assert!(keyframe.len() <= max, "{} > {max}", keyframe.len());
    restored.feed(&keyframe);
    restored
}

fn text(screen: &Screen) -> String {
    let terminal = &screen.terminal;
    let rows = terminal.grid().iter().map(|row| {
        let cells = (0..terminal.cols).map(|column| row.shown(column, terminal.cols));
        let text = cells.filter(|cell| cell.place != cell::Place::Tail).map(|cell| cell.base);
        text.collect::<String>().trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u16..25).prop_map(|n| n.to_string()),
        1 => Just(String::new()),
        1 => Just("65535".to_owned()),
        1 => Just("99999999999".to_owned()),
    ]
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[ -~]{1,30}",
        3 => "[a-z~_世界é😀\u{301}\u{200d}\u{fe0f}q]{1,12}",
        3 => Just("\r\n".to_owned()),
        2 => "[\n\r\t\u{8}\u{b}\u{e}\u{f}]",
        4 => (number(), "[@A-Ga-dIJKLMPSTXZ`]").prop_map(|(n, end)| format!("\x1b[{n}{end}")),
        3 => (number(), number()).prop_map(|(row, column)| format!("\x1b[{row};{column}H")),
        1 => (1u16..7, 1u16..7).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r")),
        1 => "\x1b\\[[hlrsug3]",
        2 => ("(4|20|\\?(1|5|6|7|12|25|45|66|9|1000|1002|1003|1004|1005|1006|1007|2004|47|1047|1048|1049))", "[hl]")
            .prop_map(|(mode, end)| format!("\x1b[{mode}{end}")),
        3 => "\x1b\\[(|[0-9]|1;3[0-7]|4[0-7]|9[0-7]|10[0-7]|38;5;[0-9]{1,3}|48;2;9;[0-9]{2};255|4:3|21|22|24|39|49|53|58:5:9|58:2::1:2:3|59|38:2:1:2:3|38;2)m",
        1 => "\x1b([78DEHMc=>]|[()][0B]|#8)",
        1 => "\x1b\\]2;[ -~é]{0,20}(\u{7}|\x1b\\\\)",
        1 => "\x1b(\\[[0-6] q|\\[>4;[012]m|\\[!p)",
        1 => "\u{9b}[0-9]{1,2}[ABCDm]",
    ]
}

/// What a program may print, perhaps cut off in the midst of something.
#[derive(Clone)]
struct Output(Vec<u8>);

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

fn output() -> impl Strategy<Value = Output> {
    (prop::collection::vec(token(), 0..60), 0usize..4).prop_map(|(tokens, cut)| {
        let mut bytes = tokens.concat().into_bytes();
        bytes.truncate(bytes.len().saturating_sub(cut));
        Output(bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_keyframe_gives_the_same_screen(
        printed in output(), size in (1u16..30, 1u16..12), resized in (1u16..30, 1u16..12), more in output()
    ) {
        let mut original = screen(size.0, size.1);
        original.feed(&printed.0);
        prop_assert_eq!(state(&restored(&original, 1 << 20)), state(&original));
        original.resize(TerminalSize::new(resized.0, resized.1).unwrap());
        original.feed(&more.0);
        let mut restored = restored(&original, 1 << 20);
        prop_assert_eq!(state(&restored), state(&original));
        // And goes on in the same way, but for lines that went on in a row that was cleared since.
        let on = b"\x1b[1mon\xe4\xb8\x96\r\n\tand\x1b8on\x1b[?1049l.";
        original.feed(on);
        restored.feed(on);
        for screen in [&mut original, &mut restored] {
            let terminal = &mut screen.terminal;
            let rows = terminal.primary.iter_mut().chain(terminal.alternate.iter_mut().flatten());
            rows.for_each(|row| row.wrapped = false);
        }
        prop_assert_eq!(state(&restored), state(&original));
    }

    #[test]
    fn a_keyframe_is_never_longer_than_it_may_be(printed in output(), max in 0usize..600) {
        let mut original = screen(SMALL.0, SMALL.1);
        original.feed(&printed.0);
        let restored = restored(&original, max);
        if original.keyframe(max).len() > 200 {
            let (a, b) = (restored.terminal, original.terminal);
            prop_assert_eq!((a.cursor, a.modes, a.margins), (b.cursor, b.modes, b.margins));
        }
    }

    #[test]
    fn no_bytes_do_harm(
        soup in prop::collection::vec(prop_oneof![
            any::<u8>(), Just(0x1b), Just(b'['), Just(b';'), b'0'..=b'9', Just(b']'), Just(0xc2), 0x80u8..0xa0
        ], 0..400),
        size in (1u16..30, 1u16..12), cuts in prop::collection::vec(1usize..50, 1..20)
    ) {
        let mut whole = screen(size.0, size.1);
        whole.feed(&soup);
        let mut pieces = screen(size.0, size.1);
        let (mut rest, mut cuts) = (soup.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            pieces.feed(piece);
            rest = after;
        }
        prop_assert_eq!(state(&pieces), state(&whole));
        prop_assert_eq!(state(&restored(&whole, 1 << 20)), state(&whole));
    }

    /// The same screen as another implementation of a terminal sees it, for what both know.
    #[test]
    fn another_terminal_shows_the_keyframe_alike(
        printed in prop::collection::vec(prop_oneof![
            4 => "[ -~]{1,30}",
            2 => Just("\r\n".to_owned()),
            2 => "\x1b\\[([013-9]|1;3[0-7]|4[0-7]|38;5;[0-9]{2}|48;2;9;8;7)m",
            2 => (1u16..25, 1u16..25).prop_map(|(row, column)| format!("\x1b[{row};{column}H")),
            2 => (1u16..9, "[ABCDJKLMPX@]").prop_map(|(n, end)| format!("\x1b[{n}{end}")),
            1 => "\x1b\\[\\?(1049|25|2004|1)[hl]",
        ], 0..40)
    ) {
        let mut ours = screen(40, 12);
        ours.feed(printed.concat().as_bytes());
        let edge = |n| std::num::NonZeroU16::new(n).unwrap();
        let mut theirs = vt100::Parser::new(edge(12), edge(40), 0);
        theirs.process(&ours.keyframe(1 << 20));
        let (terminal, other) = (&ours.terminal, theirs.screen());
        let cursor = (terminal.cursor.row, terminal.cursor.column + u16::from(terminal.cursor.at_edge));
        prop_assert_eq!(other.cursor_position(), cursor);
        prop_assert_eq!(other.alternate_screen(), terminal.alternate.is_some());
        prop_assert_eq!(other.hide_cursor(), !terminal.modes.has(modes::Mode::CursorShown));
        prop_assert_eq!(other.bracketed_paste(), terminal.modes.has(modes::Mode::BracketedPaste));
        for (row, line) in terminal.grid().iter().enumerate() {
            for column in 0..40 {
                let (cell, seen) = (line.shown(column, 40), other.cell(row as u16, column).unwrap());
                let base = if seen.has_contents() { seen.contents() } else { " " };
                prop_assert_eq!(base, cell.base.to_string());
                prop_assert_eq!(seen.bold(), cell.pen.flags & cell::Pen::BOLD != 0);
                prop_assert_eq!(seen.inverse(), cell.pen.flags & cell::Pen::INVERSE != 0);
                for (colour, theirs) in
                    [(cell.pen.foreground, seen.fgcolor()), (cell.pen.background, seen.bgcolor())]
                {
                    let ours = match colour {
                        cell::Colour::Default => vt100::Color::Default,
                        cell::Colour::Indexed(index) => vt100::Color::Idx(index),
                        cell::Colour::Rgb(r, g, b) => vt100::Color::Rgb(r, g, b),
                    };
                    prop_assert_eq!(theirs, ours);
                }
            }
        }
    }
}

#[test]
fn leaving_an_editor_shows_the_shell_again() {
    let mut original =
        showing("$ ls\r\n\x1b[31mfile\x1b[m\r\n$ vim\x1b[?1049h\x1b[2J\x1b[1;1Htext~");
    let mut restored = restored(&original, 1 << 20);
    assert_eq!(text(&restored), "text~");
    for screen in [&mut original, &mut restored] {
        screen.feed(b"\x1b[?1049l\r\n$ ");
        assert_eq!(text(screen), "$ ls\nfile\n$ vim\n$");
    }
    assert_eq!(state(&restored), state(&original));
}

#[test]
fn the_past_of_the_primary_screen_comes_along() {
    let lines: String = (0..40).map(|line| format!("line {line}\r\n")).collect();
    let original = showing(&lines);
    let mut restored = restored(&original, 1 << 20);
    // A taller terminal shows the past that the keyframe scrolled out of sight.
    let mut tall = screen(20, 60);
    tall.feed(&original.keyframe(1 << 20));
    assert!(text(&tall).starts_with("line 0\nline 1\n"), "{}", text(&tall));
    restored.feed(b"end");
    assert_eq!(text(&restored), "line 35\nline 36\nline 37\nline 38\nline 39\nend");
}

#[test]
fn line_drawing_is_kept_as_what_it_looks_like() {
    let mut original = showing("\x1b(0lqk\x1b(Bq\x0e");
    assert_eq!(text(&restored(&original, 1 << 20)), "┌─┐q");
    original.feed(b"\x0f\x1b(0x");
    assert_eq!(text(&original), "┌─┐q│");
}

#[test]
fn what_follows_a_keyframe_in_the_midst_of_a_sequence_means_the_same() {
    for (before, after, shows) in [
        ("a\x1b[3", "1mb", "ab"),
        ("a\x1b]2;ti", "tle\x07b", "ab"),
        ("a\x1bP+q54", "4e\x1b\\b", "ab"),
        ("a\x1b_G", "secret\x1b\\b", "ab"),
        ("a\x1b]52;c;\x1b", "\\b", "ab"),
    ] {
        let mut restored = restored(&showing(before), 1 << 20);
        restored.feed(after.as_bytes());
        assert_eq!(text(&restored), shows, "{before:?}");
    }
    let mut half = screen(20, 6);
    half.feed(b"a\xe4\xb8");
    let mut restored = restored(&half, 1 << 20);
    restored.feed(b"\x96b");
    assert_eq!(text(&restored), "a世b");
}

#[test]
fn an_endless_string_is_swallowed_to_its_end_and_costs_nothing() {
    for (begin, end) in [("\x1b]52;c;", "\x07"), ("\x1bP1q", "\x1b\\"), ("\x1b_", "\x1b\\")] {
        let mut original = showing(begin);
        for _ in 0..100 {
            original.feed(&[b'A'; 64 * 1024]);
        }
        let keyframe = original.keyframe(1 << 20);
        assert!(keyframe.len() < 100, "{begin:?} {}", keyframe.len());
        let mut restored = restored(&original, 1 << 20);
        restored.feed(format!("AAA{end}shown").as_bytes());
        assert_eq!(text(&restored), "shown", "{begin:?}");
    }
}

#[test]
fn queries_are_answered() {
    for (query, answer) in [
        ("\x1b[c", "\x1b[?1;2c"),
        ("\x1b[0c\x1b[>c", "\x1b[?1;2c\x1b[>0;276;0c"),
        ("\x1b[5n", "\x1b[0n"),
        ("ab\r\n\x1b[6n", "\x1b[2;1R"),
        ("\x1b[2;4r\x1b[?6h\x1b[2;3H\x1b[?6n", "\x1b[?2;3R"),
        (
            "\x1b[?2004h\x1b[?2004$p\x1b[?25$p\x1b[?1000$p\x1b[?31337$p",
            "\x1b[?2004;1$y\x1b[?25;1$y\x1b[?1000;2$y\x1b[?31337;0$y",
        ),
        ("\x1b[4h\x1b[4$p", "\x1b[4;1$y"),
        ("\x1b[18t", "\x1b[8;6;20t"),
        ("\x1b]11;?\x07", "\x1b]11;rgb:0000/0000/0000\x07"),
        ("\x1b]10;?;?\x1b\\", "\x1b]10;rgb:e5e5/e5e5/e5e5\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\"),
        (
            "\x1b]4;1;?;196;?\x07",
            "\x1b]4;1;rgb:cdcd/0000/0000\x07\x1b]4;196;rgb:ffff/0000/0000\x07",
        ),
        ("\x1bP$qm\x1b\\\x1bP+q544e\x1b\\", "\x1bP0$r\x1b\\\x1bP0+r\x1b\\"),
        ("\x1b]52;c;?\x07\x1b[21t\x1b]2;evil\x07", ""),
        ("\x1bZ", "\x1b[?1;2c"),
    ] {
        let mut screen = showing(query);
        assert_eq!(String::from_utf8(screen.take_answers()).unwrap(), answer, "{query:?}");
        assert_eq!(screen.take_answers(), b"");
    }
}

#[test]
fn answers_and_titles_are_bounded() {
    let mut screen = showing(&"\x1b[6n\x1b]4;7;?\x07".repeat(10_000));
    assert!(screen.take_answers().len() <= 4096);
    screen.feed(format!("\x1b]2;{}\x07", "é".repeat(1500)).as_bytes());
    assert!(screen.terminal.title.len() <= 256);
}

fn advance(checkpoint: &mut Checkpoint, bytes: &[u8]) {
    assert_eq!(checkpoint.advance(bytes, &mut u64::MAX.clone()), bytes.len());
    checkpoint.settle();
}

#[test]
fn a_screen_that_was_cleared_lacks_nothing() {
    for clears in ["\x1b[2J", "\x1b[H\x1b[2Jtext", "\x1bc"] {
        let mut checkpoint = Checkpoint::new(TerminalSize::DEFAULT);
        // What was cleared before says nothing of what is missing since.
        advance(&mut checkpoint, b"\x1b[2J");
        checkpoint.overtaken(shellgate_protocol::Offset::new(1000).unwrap());
        advance(&mut checkpoint, b"text\x1b[K\x1b[J");
        assert!(checkpoint.is_partial());
        advance(&mut checkpoint, clears.as_bytes());
        assert!(!checkpoint.is_partial(), "{clears:?}");
    }
}

#[test]
fn a_sequence_whose_end_is_gone_swallows_nothing() {
    let mut checkpoint = Checkpoint::new(TerminalSize::DEFAULT);
    advance(&mut checkpoint, b"\x1b]2;title");
    checkpoint.overtaken(shellgate_protocol::Offset::new(1000).unwrap());
    advance(&mut checkpoint, b"shown");
    assert_eq!(text(checkpoint.screen()), "shown");
}

#[test]
fn a_checkpoint_stands_where_it_has_read_to() {
    let mut checkpoint = Checkpoint::new(TerminalSize::DEFAULT);
    advance(&mut checkpoint, b"hello");
    assert_eq!(checkpoint.at().get(), 5);
    checkpoint.overtaken(shellgate_protocol::Offset::new(3).unwrap());
    assert!(!checkpoint.is_partial());
    assert_eq!(checkpoint.at().get(), 5);
    checkpoint.overtaken(shellgate_protocol::Offset::new(9).unwrap());
    assert!(checkpoint.is_partial());
    assert_eq!(checkpoint.at().get(), 9);
    checkpoint.repainted();
    assert!(!checkpoint.is_partial());
}

/// The shortest of a few runs, in processor time: what else the machine does meanwhile is not ours.
fn shortest(mut run: impl FnMut()) -> std::time::Duration {
    let times = (0..5).map(|_| {
        let start = processor_time();
        run();
        processor_time() - start
    });
    times.min().unwrap()
}

#[allow(unsafe_code)]
fn processor_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which is there.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Each cell in a colour of its own.
fn colourful(cols: u16, rows: u16) -> Screen {
    let mut screen = screen(cols, rows);
    for cell in 0..u32::from(cols) * u32::from(rows) {
        let (r, g, b) = (cell % 256, cell / 256 % 256, 255 - cell % 256);
        screen.feed(format!("\x1b[1;38;2;{r};{g};{b};48;5;{b}mx").as_bytes());
    }
    screen
}

#[test]
fn output_that_asks_for_much_work_is_taken_a_little_at_a_time_and_comes_to_the_same() {
    let work = 1500;
    for (size, repeated) in [
        ((1000, 1000), "\x1b#8x"),
        ((100, 100), "\x1b[41m\x1b[999S"),
        ((100, 100), "x\x1b[65535b\x1b[T"),
        ((100, 100), "x\u{9b}65535b"),
        ((1000, 20), "\r\x1b[K\x1b[999Gx"),
        ((100, 50), "\n"),
        ((1, 1000), "text of some length"),
        ((100, 100), "\x1b[?1049h\x1b[?1049l"),
        ((100, 100), "\x1bc"),
        ((200, 20), "\x1b[4hmore\x1b[@\x1b[P"),
        ((1000, 10), "\x1b[3g\r\t\x1b[Z"),
    ] {
        let cells = usize::from(size.0) * usize::from(size.1);
        let output = repeated.repeat(300.min(1_000_000 / cells + 2));
        let mut whole = screen(size.0, size.1);
        whole.feed(output.as_bytes());
        let mut halting = screen(size.0, size.1);
        let (mut left, mut halts) = (output.as_bytes(), 0);
        while !left.is_empty() {
            let mut strength = work;
            let taken = halting.feed_some(left, &mut strength);
            assert!(taken > 0, "{repeated:?}");
            left = &left[taken..];
            halts += usize::from(strength == 0);
        }
        assert!(halts > 0, "{repeated:?}");
        halting.settle();
        assert!(halting.keyframe(1 << 20) == whole.keyframe(1 << 20), "{repeated:?}");
    }
}

const QUICK: std::time::Duration = std::time::Duration::from_millis(50);

#[test]
fn a_large_screen_full_of_colours_is_painted_within_50_ms() {
    let screen = colourful(250, 80);
    assert_eq!(state(&restored(&screen, 1 << 20)), state(&screen));
    let took = shortest(|| drop(screen.keyframe(1 << 20)));
    println!("{} bytes in {took:?}", screen.keyframe(1 << 20).len());
    assert!(took < QUICK, "{took:?}");
}

#[test]
fn the_largest_screen_still_gives_a_keyframe() {
    let mut screen = screen(1000, 1000);
    (0..500_000).for_each(|_| screen.feed(b"\x1b[31mx\x1b[mx"));
    let keyframe = screen.keyframe(1 << 20);
    assert!(keyframe.len() > 1_000_000, "{}", keyframe.len());
    assert_eq!(text(&restored(&screen, 1 << 20)), text(&screen));
    // Of what does not fit, the lowest rows are shown.
    let seen = text(&restored(&screen, 1 << 16));
    assert!(seen.ends_with(&"x".repeat(1000)), "{}", seen.len());
}

#[test]
fn huge_counts_are_quick_on_the_largest_screen() {
    for sequence in [
        "x\x1b[65535b",
        "\x1b[65535@",
        "\x1b[65535P",
        "\x1b[65535X",
        "\x1b[65535L",
        "\x1b[65535M",
        "\x1b[65535S",
        "\x1b[65535T",
        "\x1b[65535I",
        "\x1b[65535Z",
        "\x1b[65535A",
        "\x1b[65535;65535H",
        "\x1b[41m\x1b[2J",
        "\x1bc",
        "\x1b[?1049h\x1b[?1049l",
        "\x1b[65535E",
        "\x1b#8",
    ] {
        let mut screen = screen(1000, 1000);
        screen.feed(&b"text ".repeat(200_000));
        let took = shortest(|| screen.feed(sequence.as_bytes()));
        println!("{sequence:?} {took:?}");
        assert!(took < QUICK, "{sequence:?} {took:?}");
    }
}

#[test]
fn an_idle_screen_is_small() {
    let mut screen = screen(80, 24);
    for line in 0..5000 {
        screen.feed(
            format!("drwxr-xr-x 2 user user \x1b[01;34mdirectory-{line}\x1b[0m\r\n").as_bytes(),
        );
    }
    screen.feed(b"\x1b[?1049h");
    (0..24 * 80).for_each(|_| screen.feed(b"x"));
    let terminal = &screen.terminal;
    let rows = terminal.primary.iter().chain(terminal.alternate.iter().flatten());
    let bytes = rows.map(row::Row::bytes).sum::<usize>() + terminal.history.bytes();
    assert!(bytes < 192 * 1024, "{bytes}");
}
