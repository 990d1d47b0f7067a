// The wire's numbers: each with its unit. Those that shape messages are the Rust crate
// `protocol`'s, and the golden vectors hold both to them. Knows nothing but numbers.

/** Largest payload of one output frame, in bytes. */
export const OUTPUT_FRAME_MAX = 64 * 1024;

/** Largest payload of one input frame, in bytes. */
export const INPUT_FRAME_MAX = 16 * 1024;

/** Input that may have been sent and not yet applied, in bytes. */
export const INPUT_UNAPPLIED_MAX = 1024 * 1024;

/** Input that is kept in all, sent or not, in bytes: a paste beyond it is refused whole. */
export const INPUT_KEPT_MAX = 4 * 1024 * 1024;

/** Largest keyframe, all its frames together, in bytes. */
export const KEYFRAME_MAX = 1024 * 1024;

/** Smallest output window that a client may ask for, in bytes. */
export const WINDOW_MIN = 64 * 1024;

/** The output window that is asked for, in bytes. */
export const WINDOW_DEFAULT = 1024 * 1024;

/** Largest control message, in bytes of JSON. */
export const CONTROL_MAX = 16 * 1024;

/** Offsets stay at or below this, so that a number carries them exactly: 2^53 - 1. */
export const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

/** A peer that was not heard for so long is taken for dead, in milliseconds. */
export const SILENCE_MILLIS = 60_000;

/** A `ping` goes out when nothing was heard for so long, in milliseconds: a browser does not
 * show the WebSocket's own pings, so this one shows that the way there and back is open. */
export const PING_MILLIS = 20_000;

/** Silence counts only once a `ping` has stayed unanswered for so long, in milliseconds: a
 * browser stops the timers of hidden pages, and a late timer is not a dead peer. */
export const PING_GRACE_MILLIS = 10_000;

/** How long a ticket or a WebSocket's handshake may take, in milliseconds. */
export const CONNECT_MILLIS = 15_000;

/** A small acknowledgement rides along with another message after so many milliseconds. */
export const LAZY_RIDE_MILLIS = 400;

/** A small acknowledgement goes out alone after so many milliseconds. */
export const LAZY_ALONE_MILLIS = 1000;

/** Sizes are sent at most once in so many milliseconds, the last one always: a window that is
 * dragged would else run into the limit on control messages. */
export const RESIZE_MILLIS = 100;

/** Back-off after failures: the first pause is at most this long, in milliseconds. */
export const BACK_OFF_FIRST_MILLIS = 500;

/** No pause is longer than this, in milliseconds. */
export const BACK_OFF_MAX_MILLIS = 30_000;

/** A refusal can make a client wait for so long at most, in milliseconds. */
export const RETRY_AFTER_MAX_MILLIS = 600_000;

/** The longest that a browser's timer can run, in milliseconds; a longer one would ring at once. */
export const TIMER_MAX_MILLIS = 2 ** 31 - 1;

/** A gateway that leaves in good order is followed within so many milliseconds. */
export const RETURN_JITTER_MILLIS = 500;

/** After an attachment that lasted so long, the next loss is retried at once even where it brought
 * nothing new. */
export const STEADY_MILLIS = 5000;

/** Unanswered requests (`signal`, `extend`) are repeated after so many milliseconds. */
export const REQUEST_REPEAT_MILLIS = 3000;

/** Unanswered requests that are kept; a person who presses a button more often gets no more. */
export const REQUESTS_MAX = 16;

/** Terminal edges, in cells. */
export const EDGE_MIN = 1;
export const EDGE_MAX = 1000;

/** The number of a session's first launch. */
export const FIRST_LAUNCH = 1;
