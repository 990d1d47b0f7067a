// How an attachment stands, for a person to see. Knows nothing but words.

import type { ExitStatus, Mode, Role, Starting } from "./messages.ts";
import type { Stopped } from "./stopped.ts";

/** What a person sees of it. Times are of the skin's clock, in milliseconds. */
export type Status =
  | { state: "connecting" }
  | { state: "starting"; starting: Starting; at: number }
  /** `over`: the session had ended before, and its last screen is all that comes. */
  | { state: "attached"; role: Role; launch: number; mode: Mode; over: boolean }
  | { state: "waiting"; until: number; failures: number }
  | { state: "stopped"; stopped: Stopped; exit?: ExitStatus };
