//! A person at a shell: one attachment, as the client library makes it, and all that it has shown.

use std::ops::Range;
use std::time::Duration;

use shellgate_client::attach::{Closed, Why};
use shellgate_client::{AttachOptions, Input};
use shellgate_protocol::client_leg::ExitStatus;
use shellgate_protocol::{CloseCode, Launch, SessionId};
use tokio::sync::watch;

use crate::transcript::{Keyframe, Transcript, find};
use crate::user::from_the_start;
use crate::{DEADLINE, User};

/// An attachment that takes whatever comes as soon as it comes.
pub struct Shell {
    user: User,
    session: SessionId,
    options: AttachOptions,
    /// To type, resize and signal.
    pub input: Input,
    seen: watch::Receiver<Transcript>,
    /// What was shown before this has been looked at.
    looked: usize,
}

/// A session that its user has left.
pub struct Absent {
    user: User,
    session: SessionId,
    options: AttachOptions,
    /// What was shown, of which launch, and how much of that has been looked at.
    shown: Transcript,
    launch: Option<Launch>,
    looked: usize,
}

impl Shell {
    pub(crate) fn attach(user: &User, session: SessionId, options: AttachOptions) -> Self {
        let shown = Transcript::knowing(Vec::new(), options.output);
        Self::go_on(user, session, options, shown, 0)
    }

    fn go_on(
        user: &User,
        session: SessionId,
        options: AttachOptions,
        shown: Transcript,
        looked: usize,
    ) -> Self {
        let (input, mut events) = user.api().attach(session, options.clone());
        let (told, seen) = watch::channel(shown);
        user.world.tracker.spawn(async move {
            while let Some(event) = events.next().await {
                told.send_modify(|transcript| transcript.take(event));
                if told.is_closed() {
                    return;
                }
            }
            events.finished().await;
        });
        Self { user: user.clone(), session, options, input, seen, looked }
    }

    /// Which session this is.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What has come so far. Held only for a moment: nothing comes meanwhile.
    #[must_use]
    pub fn seen(&self) -> watch::Ref<'_, Transcript> {
        self.seen.borrow()
    }

    /// Waits until what has come is as it should be.
    ///
    /// # Panics
    /// Where that takes too long, where the attachment ends first, or where a promise was broken;
    /// with what came instead.
    pub async fn sees<T>(&mut self, what: &str, is_so: impl FnMut(&Transcript) -> Option<T>) -> T {
        self.sees_within(DEADLINE, what, is_so).await
    }

    async fn sees_within<T>(
        &mut self,
        time: Duration,
        what: &str,
        mut is_so: impl FnMut(&Transcript) -> Option<T>,
    ) -> T {
        let mut found = None;
        let seen = self.seen.wait_for(|transcript| {
            if let Some(broken) = &transcript.broken_promise {
                panic!("waiting for {what}: {broken}");
            }
            found = is_so(transcript);
            found.is_some()
        });
        let came = match tokio::time::timeout(time, seen).await {
            Ok(Ok(_)) => true,
            Ok(Err(_)) | Err(_) => false,
        };
        match found {
            Some(found) if came => found,
            _ => panic!("{what} did not come. Instead: {}", self.seen.borrow().tail()),
        }
    }

    /// Types.
    pub async fn types(&self, keys: &str) {
        self.pastes(keys.as_bytes()).await;
    }

    /// Types bytes, however many.
    pub async fn pastes(&self, bytes: &[u8]) {
        let typed = tokio::time::timeout(DEADLINE, self.input.send(bytes)).await;
        let typed =
            typed.unwrap_or_else(|_| panic!("typing takes too long: {}", self.seen().tail()));
        typed.unwrap_or_else(|no| panic!("{no}: {}", self.seen().tail()));
    }

    /// Waits until the output goes on with `text`, somewhere after what was waited for before.
    /// Better computed text: a terminal echoes what is typed.
    pub async fn shows(&mut self, text: &str) {
        self.finds(text).await;
    }

    /// Like [`Shell::shows`], for what takes longer than most.
    pub async fn shows_within(&mut self, time: Duration, text: &str) {
        self.finds_within(time, text).await;
    }

    /// Like [`Shell::shows`], and says where in the output the text is.
    pub async fn finds(&mut self, text: &str) -> Range<usize> {
        self.finds_within(DEADLINE, text).await
    }

    /// Like [`Shell::finds`], for what takes longer than most.
    pub async fn finds_within(&mut self, time: Duration, text: &str) -> Range<usize> {
        let mut from = self.looked;
        let what = format!("{text:?}");
        let at = self
            .sees_within(time, &what, |transcript| {
                let found = find(&transcript.output, text.as_bytes(), from);
                // What was looked through is not looked through again.
                from = from.max(transcript.output.len().saturating_sub(text.len()));
                found
            })
            .await;
        self.looked = at + text.len();
        at..self.looked
    }

    /// Waits until `text` is to be seen, in the output or on the newest screen. A screen is all that
    /// an observer gets of what was printed before it came, or faster than it reads.
    pub async fn draws_within(&mut self, time: Duration, text: &str) {
        let mut from = 0;
        let what = format!("{text:?} on a screen");
        self.sees_within(time, &what, |transcript| {
            let is_printed = find(&transcript.output, text.as_bytes(), from).is_some();
            from = from.max(transcript.output.len().saturating_sub(text.len()));
            let screen = transcript.keyframes.last();
            let is_drawn = |screen: &Keyframe| find(&screen.bytes, text.as_bytes(), 0).is_some();
            (is_printed || screen.is_some_and(is_drawn)).then_some(())
        })
        .await;
    }

    /// Runs a command line and gives what it printed, without the last line end.
    pub async fn runs(&mut self, command: &str) -> String {
        // What is typed is echoed: the marks stand together only in what is printed.
        self.types(&format!("printf %s '<'\"<$({command})>\"'>'\n")).await;
        let from = self.finds("<<").await.end;
        let to = self.finds(">>").await.start;
        String::from_utf8_lossy(&self.seen().output[from..to]).replace("\r\n", "\n")
    }

    /// Waits until the attachment stands.
    pub async fn stands(&mut self) {
        self.stands_again(0).await;
    }

    /// Waits until the attachment has stood more often than `before`: the length of
    /// [`Transcript::attached`] then.
    pub async fn stands_again(&mut self, before: usize) {
        self.sees("an attachment that stands", |seen| (seen.attached.len() > before).then_some(()))
            .await;
    }

    /// How often the attachment has stood.
    #[must_use]
    pub fn times_attached(&self) -> usize {
        self.seen().attached.len()
    }

    /// Waits until all that was typed was applied.
    pub async fn is_taken_in(&self) {
        let flushed = tokio::time::timeout(DEADLINE, self.input.flush()).await;
        let flushed =
            flushed.unwrap_or_else(|_| panic!("input is not taken: {}", self.seen().tail()));
        flushed.unwrap_or_else(|no| panic!("{no}: {}", self.seen().tail()));
    }

    /// Waits for the program's end, and the attachment's.
    pub async fn exits(&mut self) -> ExitStatus {
        let (exit, closed) =
            self.sees("an exit", |seen| Some((seen.exit.clone(), seen.closed.clone()?))).await;
        let Some((_, status)) = exit else { panic!("closed without an exit: {closed:?}") };
        assert_eq!(closed.why, Why::Exited, "{closed:?}");
        status
    }

    /// Waits for the attachment's end.
    pub async fn closes(&mut self) -> Closed {
        self.sees("a close", |seen| seen.closed.clone()).await
    }

    /// Waits for the attachment's end with this code.
    pub async fn closes_with(&mut self, code: CloseCode) {
        let closed = self.closes().await;
        assert_eq!(closed.code(), Some(code), "{closed:?}");
    }

    /// Leaves the session, as a closed tab does. What was typed before may be lost with it, so it
    /// is waited for.
    pub async fn hangs_up(mut self) -> Absent {
        self.is_taken_in().await;
        self.input.leave();
        let closed = self.closes().await;
        assert_eq!(closed.why, Why::Left, "{closed:?}");
        let shown = Transcript::knowing(self.seen().output.clone(), self.seen().known);
        let launch = self.seen().attached.last().map(|attached| attached.launch);
        let launch = launch.or(self.options.launch);
        let Self { user, session, options, looked, .. } = self;
        Absent { user, session, options, shown, launch, looked }
    }
}

impl Absent {
    /// Comes back as a new process, and is shown what was missed after what was shown before.
    pub async fn comes_back(self) -> Shell {
        let options = AttachOptions {
            output: self.shown.known,
            launch: self.launch,
            window: self.options.window,
            size: self.options.size,
            ..from_the_start(self.options.role)
        };
        let mut shell = Shell::go_on(&self.user, self.session, options, self.shown, self.looked);
        shell.stands().await;
        shell
    }

    /// Which session was left.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }
}
