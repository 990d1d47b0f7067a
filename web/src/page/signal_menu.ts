// The little panel in which a person chooses a signal for the program. Knows no connection.

import type { Signal } from "../client/index.ts";
import { button, confirmed, h } from "./dom.ts";
import { menu } from "./menu.ts";

interface Choice {
  name: Signal;
  label: string;
  means: string;
  /** Also ends a shell that waits for its next command, and the session with it. */
  ends?: true;
}

const CHOICES: readonly Choice[] = [
  { name: "INT", label: "Interrupt", means: "as Ctrl+C" },
  { name: "QUIT", label: "Quit", means: "as Ctrl+\\" },
  { name: "TERM", label: "Terminate", means: "asks it to end" },
  { name: "HUP", label: "Hang up", means: "terminal is gone", ends: true },
  { name: "KILL", label: "Kill", means: "ends it at once", ends: true },
];

/** A button with its panel; `send` gets each signal that a person wants sent. */
export function signalMenu(send: (name: Signal) => void): HTMLElement {
  const choose = async ({ name, label, ends }: Choice) => {
    signals.close();
    const yes =
      ends === undefined ||
      (await confirmed(
        `Send ${name}?`,
        "What runs in the foreground ends. Where nothing does, the shell itself ends, and the session with it.",
        label,
      ));
    if (yes) send(name);
  };
  const choices = CHOICES.map((choice) => {
    const one = button(
      "",
      () => void choose(choice),
      choice.ends ? "choice quiet-danger" : "choice",
    );
    one.append(
      h("span", {}, `${choice.label} · ${choice.name}`),
      h("span", { className: "hint" }, choice.means),
    );
    return one;
  });
  const whom = h("p", { className: "hint" }, "To the program in the foreground, or to the shell.");
  const signals = menu("Signal", "signal-panel", [whom, ...choices], choices[0]);
  return signals.element;
}
