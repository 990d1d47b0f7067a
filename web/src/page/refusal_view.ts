// A refusal by admission: which limit it is, and when it may be tried again.

import type { Problem } from "../client/index.ts";
import { button, h } from "./dom.ts";
import { busyWords, span } from "./words.ts";

/** A refusal as it is shown. */
export interface RefusalCard {
  card: HTMLElement;
  /** What it waits for has come: it may be tried again at once. */
  free: () => void;
  /** Ends what runs for it. */
  leave: () => void;
}

/** Shows a refusal with a countdown, after which the button may be pressed again. */
export function refusalCard(
  problem: Pick<Problem, "code" | "detail" | "retryAfter">,
  again: () => void,
  back: () => void,
): RefusalCard {
  const words = busyWords(problem.code);
  // The gateway's words and the page's own say the same: the more exact ones are enough.
  const text = words.general === true && problem.detail !== "" ? problem.detail : words.text;
  const retry = button("Try again", again, "primary");
  const countdown = h("p", { className: "hint countdown", attributes: { "aria-live": "off" } });
  let until = performance.now() + (problem.retryAfter ?? 0) * 1000;
  const show = () => {
    const left = until - performance.now();
    retry.disabled = left > 0;
    countdown.textContent =
      left > 0 ? `You can try again in ${span(left)}.` : "You can try again now.";
    if (left <= 0) clearInterval(timer);
  };
  const timer = setInterval(show, 1000);
  show();
  const card = h(
    "section",
    {
      className: "card refusal",
      tabIndex: -1,
      attributes: { role: "alert", "data-refusal": problem.code ?? "" },
    },
    h("h2", {}, words.heading),
    h("p", {}, text),
    problem.code !== undefined &&
      h("p", { className: "hint" }, "Reason: ", h("code", {}, problem.code)),
    countdown,
    h("div", { className: "row end" }, button("Back", back), retry),
  );
  const free = () => {
    until = 0;
    show();
  };
  return { card, free, leave: () => clearInterval(timer) };
}
