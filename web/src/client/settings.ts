// What an attachment is made of. Knows nothing but names.

import type { Chance } from "./backoff.ts";
import type { Role, Size } from "./messages.ts";

/** What an attachment is made of. */
export interface Settings {
  role: Role;
  /** 128 random bits of this page load, as 32 hexadecimal digits. */
  client: string;
  /** Makes another 128 random bits. */
  freshStream: () => string;
  size: Size;
  chance: Chance;
  window?: number;
  /** The session was started for this attachment: it is read from its first byte on, instead of
   * from the screen as it is by then. */
  fresh?: boolean;
}
