// Lines above the terminal that say what goes on. Each has a name; a newer one of the same name
// replaces it. Knows no session.

import { button, h } from "./dom.ts";

export type Tone = "calm" | "warning" | "trouble" | "good";

/** A button of a banner. */
export interface BannerAct {
  label: string;
  click: () => void;
  primary?: boolean;
}

interface Banner {
  element: HTMLElement;
  words: HTMLElement;
  count: HTMLElement;
  timer?: ReturnType<typeof setInterval>;
}

/** All banners of one view. */
export class Banners {
  readonly element = h("div", { className: "banners", attributes: { "aria-live": "polite" } });
  private readonly shown = new Map<string, Banner>();

  /** Shows a line, with a way to put it away where it has no other button. */
  show(name: string, tone: Tone, text: string, acts: BannerAct[] = []): void {
    this.hide(name);
    const words = h("span", { className: "words" }, text);
    // The seconds are for the eye: read out each second they would drown everything else.
    const count = h("span", { className: "count", attributes: { "aria-hidden": "true" } });
    const buttons =
      acts.length > 0
        ? acts.map((act) => button(act.label, act.click, act.primary === true ? "primary" : ""))
        : [button("Dismiss", () => this.hide(name))];
    const element = h(
      "div",
      { className: `banner ${tone}`, attributes: { "data-banner": name } },
      words,
      count,
      h("span", { className: "row" }, ...buttons),
    );
    this.shown.set(name, { element, words, count });
    this.element.append(element);
  }

  /** Counts down beside the text of a banner, to `until` by `performance.now()`. */
  countDown(
    name: string,
    until: number,
    words: (seconds: number) => string,
    over?: () => void,
  ): void {
    const banner = this.shown.get(name);
    if (banner === undefined) return;
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      banner.count.textContent = words(seconds);
      if (seconds === 0) {
        clearInterval(banner.timer);
        over?.();
      }
    };
    banner.timer = setInterval(tick, 250);
    tick();
  }

  /** Puts a banner away by itself after so many milliseconds. */
  fade(name: string, millis: number): void {
    const banner = this.shown.get(name);
    if (banner === undefined) return;
    banner.timer = setTimeout(() => this.hide(name), millis);
  }

  hide(name: string): void {
    const banner = this.shown.get(name);
    if (banner === undefined) return;
    clearInterval(banner.timer);
    clearTimeout(banner.timer);
    banner.element.remove();
    this.shown.delete(name);
  }

  dispose(): void {
    for (const name of [...this.shown.keys()]) this.hide(name);
  }
}
