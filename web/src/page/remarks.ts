// What a session's view says in passing: notices, gaps, input that did not arrive. Knows no
// connection.

import type { GapReason, Lost, Notice, Signal } from "../client/index.ts";
import type { Banners } from "./banners.ts";
import { bytes, span } from "./words.ts";

/** A passing remark stays for so many milliseconds. */
const REMARK_MILLIS = 8000;

/** Says things in banners. */
export class Remarks {
  constructor(
    private readonly banners: Banners,
    private readonly extend: () => void,
  ) {}

  /** Something to know that goes away by itself. */
  say(name: string, tone: "calm" | "warning" | "good", words: string): void {
    this.banners.show(name, tone, words);
    this.banners.fade(name, REMARK_MILLIS);
  }

  /** A notice of the gateway; who drives can do something about some of them. */
  notice(notice: Exclude<Notice, { kind: "observers" }>, drives: boolean): void {
    switch (notice.kind) {
      case "idle_warning":
        this.warn("This session stops because nobody works in it.", notice.seconds, drives);
        return;
      case "lifetime_warning":
        this.warn(
          "This session reaches the longest life that it may have.",
          notice.seconds,
          drives,
        );
        return;
      case "extended":
        this.banners.hide("clock");
        this.say("extended", "good", `Extended: at least ${span(notice.seconds * 1000)} from now.`);
        return;
      case "taken_over":
        return;
      case "new_launch":
        this.say("launch", "warning", "The session was started anew: this is another program.");
        return;
      case "partial_keyframe":
        this.say("partial", "calm", "The program was asked to draw its screen again.");
        return;
      case "policy":
        this.banners.show("policy", "calm", notice.text);
        return;
      case "signalled":
      case "token_expires":
        return;
    }
  }

  signalled(name: Signal): void {
    this.say("signal", "good", `${name} was sent.`);
  }

  gap(length: number, why: GapReason): void {
    const words =
      why === "lost"
        ? `${bytes(length)} of output were not kept. What you see is the newest that there is.`
        : `${bytes(length)} of output were skipped, so that you see the newest screen.`;
    this.say("gap", why === "lost" ? "warning" : "calm", words);
  }

  inputLost(count: number, why: Lost): void {
    const words =
      why === "full"
        ? `This is too much at once: ${bytes(count)} were not pasted.`
        : why === "ended" || why === "taken_over"
          ? `${bytes(count)} that you typed did not arrive.`
          : `${bytes(count)} that you typed may not have arrived, and are not typed again.`;
    this.banners.show("input", "warning", words);
  }

  private warn(words: string, seconds: number, drives: boolean): void {
    const acts = drives ? [{ label: "Extend", click: this.extend, primary: true }] : [];
    this.banners.show("clock", "warning", words, acts);
    this.banners.countDown("clock", performance.now() + seconds * 1000, (left) =>
      left > 90 ? `In ${Math.ceil(left / 60)} minutes` : `In ${left} s`,
    );
  }
}
