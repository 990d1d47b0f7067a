//! How output is cut into frames, and when the screen follows it: counted, not timed.

use shellgate_protocol::{Frame, FromBridge, Kind};

use crate::gateway::{Client, Gateway, Heard, Link, Opened, at, script};
use crate::numbers;

/// Every key that is typed is printed by the terminal itself.
const ECHO: &str = "stty raw echo; printf ready; exec sleep 1000";

/// Keys that are typed one after the other.
const KEYS: usize = 20;

impl Client {
    /// Takes messages until it has so many bytes; gives how many frames of output they came in.
    async fn counts(&mut self, link: &mut Link, opened: Opened, bytes: usize) -> usize {
        let mut frames = 0;
        while self.output.len() < bytes {
            let before = self.output.len();
            self.takes(link, opened).await;
            frames += usize::from(self.output.len() > before);
        }
        frames
    }
}

#[tokio::test]
async fn a_flood_leaves_in_large_frames() {
    let gateway = Gateway::start(script("seq 100000 260000; sleep 1000"));
    let mut link = gateway.linked().await;
    let expected = numbers(260_000);
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    // As it is printed the frames are as large as the program is faster than the bridge.
    client.has(&mut link, opened, expected.len()).await;
    assert!(client.output == expected);
    // As it is kept, nothing has to be waited for.
    let mut later = Client::observer();
    let watching = link.opens(2, &later).await;
    let kept = later.counts(&mut link, watching, expected.len()).await;
    assert!(expected.len() / kept > 32 * 1024, "{kept} frames for {} bytes", expected.len());
    assert!(later.output == expected);
}

#[tokio::test]
async fn a_lone_keys_echo_is_a_frame_of_its_own_and_waits_for_nothing() {
    let gateway = Gateway::start(script(ECHO));
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees_at_the_end(&mut link, opened, "ready").await;
    let mut before_the_echo = 0;
    for key in 0..KEYS {
        let known = client.knows_up_to();
        client.types(&mut link, opened, key, b"k").await;
        let echo: Frame = loop {
            match link.hears().await {
                Heard::Frame(_, frame) if frame.kind == Kind::Data => break frame,
                // What was applied is told lazily: an echo that waits comes after it.
                Heard::Frame(_, frame) if frame.offset > at(key) => before_the_echo += 1,
                _ => {}
            }
        };
        assert_eq!((echo.offset, &echo.payload[..]), (known, &b"k"[..]));
        client.output.push(b'k');
        client.acknowledge(&mut link, opened).await;
    }
    // A bridge that gets no processor for a while finds everything due at once.
    assert!(before_the_echo < KEYS / 2, "{before_the_echo} of {KEYS} echoes came late");
}

#[tokio::test]
async fn a_flood_that_waits_for_its_driver_is_not_followed_by_the_screen() {
    let window = 4 << 20;
    let gateway = Gateway::start(script("exec seq 100000 9999999"));
    let mut link = gateway.linked().await;
    let mut driver = Client { acknowledges: false, window: window as u32, ..Client::driver() };
    let opened = link.opens(1, &driver).await;
    driver.has(&mut link, opened, window).await;
    // The bridge's next look at the program comes long after the screen would have followed.
    loop {
        if let Heard::Control(FromBridge::Stats(stats)) = link.hears().await {
            assert_eq!(stats.output, at(window));
            break;
        }
    }
    // Whoever wants the screen now finds it so far behind that it has to begin anew.
    let newcomer = Client { wants_the_screen: true, ..Client::observer() };
    let watching = link.opens(2, &newcomer).await;
    let partial = link.shows_a_partial_screen(watching.channel).await;
    assert!(partial, "the screen has been fed while the driver waited for output");
}
