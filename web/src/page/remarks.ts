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

  /** A notice of the gateway. Who drives can do something about some of them: `work` is what they
   * do in the session. */
  notice(notice: Exclude<Notice, { kind: "observers" }>, work: "key" | "line" | undefined): void {
    const drives = work !== undefined;
    switch (notice.kind) {
      case "idle_warning": {
        const remedy = drives ? `: any ${work} keeps this session` : "";
        this.warn("idle", `Nobody works here${remedy}.`, notice.seconds, drives);
        return;
      }
      case "lifetime_warning": {
        const words = "This session reaches the longest life that it may have.";
        this.warn("lifetime", words, notice.seconds, drives);
        return;
      }
      case "extended":
        this.over();
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

  /** Somebody works: the session is not idle. Nothing but an extension lengthens its life. */
  worked(): void {
    this.banners.hide("idle");
  }

  /** There is no end to warn of any more. */
  over(): void {
    for (const name of ["idle", "lifetime"]) this.banners.hide(name);
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

  private warn(name: string, words: string, seconds: number, drives: boolean): void {
    // It lies over the terminal: who has read it may put it away.
    const dismiss = { label: "Dismiss", click: () => this.banners.hide(name) };
    const extend = { label: "Extend", click: this.extend, primary: true };
    const acts = drives ? [dismiss, extend] : [dismiss];
    this.banners.show(name, "warning", words, acts);
    this.banners.countDown(name, performance.now() + seconds * 1000, (left) =>
      left > 90 ? `It stops in ${Math.ceil(left / 60)} minutes.` : `It stops in ${left} s.`,
    );
  }
}
