// What a session is shown on: a terminal, or lines. Knows neither.

import type { Draw } from "../client/index.ts";
import type { Appearance } from "./appearance.ts";

/** Draws a session's output, and takes what a person types. */
export interface Surface {
  /** The next thing, after all before it. */
  draw: (what: Draw) => void;
  /** An attachment begins; a person may type where it `drives`. */
  attached: (drives: boolean) => void;
  /** Nothing more will come and nothing may be typed. */
  ended: () => void;
  wear: (appearance: Appearance) => void;
  focus: () => void;
  dispose: () => void;
}
