// A refusal by admission: which limit it is, and when it may be tried again.

import type { Problem } from "../client/index.ts";
import { button, h } from "./dom.ts";
import { busyWords, span } from "./words.ts";

/** Shows a refusal with a countdown, after which the button may be pressed again. */
export function refusalCard(
  problem: Pick<Problem, "code" | "detail" | "retryAfter">,
  again: () => void,
  back: () => void,
): { card: HTMLElement; leave: () => void } {
  const words = busyWords(problem.code);
  const retry = button("Try again", again, "primary");
  const countdown = h("p", { className: "hint countdown", attributes: { "aria-live": "off" } });
  const until = performance.now() + (problem.retryAfter ?? 0) * 1000;
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
      attributes: { role: "alert", "data-refusal": problem.code ?? "" },
    },
    h("h2", {}, words.heading),
    h("p", {}, words.text),
    problem.detail !== "" && h("p", { className: "hint" }, problem.detail),
    problem.code !== undefined &&
      h("p", { className: "hint" }, "Reason: ", h("code", {}, problem.code)),
    countdown,
    h("div", { className: "row end" }, button("Back", back), retry),
  );
  return { card, leave: () => clearInterval(timer) };
}
