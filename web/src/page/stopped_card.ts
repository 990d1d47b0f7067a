// The card that says why a session is not to be seen here any more. Knows no connection.

import type { Stopped } from "../client/index.ts";
import { h } from "./dom.ts";
import { stoppedWords } from "./words.ts";

/** A card with the reason, and with what a person can do about it. */
export function stoppedCard(stopped: Stopped, acts: HTMLElement[]): HTMLElement {
  const words = stoppedWords(stopped);
  // The gateway's own words say the same of another driver, for programs.
  const detail = stopped.why === "another_driver" ? undefined : stopped.detail;
  return h(
    "section",
    { className: "card panel", attributes: { role: "alert", "data-stopped": stopped.why } },
    h("h2", {}, words.heading),
    h("p", {}, words.text),
    detail !== undefined && h("p", { className: "hint" }, detail),
    h("div", { className: "row end" }, ...acts),
  );
}
