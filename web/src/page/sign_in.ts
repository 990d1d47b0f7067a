// Who is signed in on this page, and how the token is renewed. Knows no view.
//
// The token is kept in sessionStorage, so that a reload does not sign a person out. It is this
// tab's alone and gone with it; localStorage and cookies would outlive it and be shared. Script of
// somebody else's that ran in this page could read it there, but could as well call the gateway
// with a token that is only in memory: what keeps such script out is the page's policy (no inline
// script, no other host, text never parsed as HTML), not the place of the token.

import { type Api, Problem } from "../client/index.ts";

const KEY = "shellgate.token";

/** Longest token that the gateway looks at, in bytes. */
const TOKEN_MAX = 8 * 1024;

/** A token that was issued for so long is renewed after this part of it. */
const RENEW_AFTER = 0.8;

/** Renewing is tried again no sooner than this, in milliseconds. */
const RETRY_MILLIS = 5000;

/** No timer waits longer, in milliseconds: browsers count in 32 bits. */
const TIMER_MAX = 2 ** 31 - 1;

interface Kept {
  token: string;
  user: string;
  /** Milliseconds since 1970; absent where the token does not say. */
  expires?: number;
  /** It came from the development issuer, which can renew it. */
  renewable: boolean;
}

/** The page's sign-in. */
export class SignIn {
  private kept: Kept | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private renewing: Promise<string | undefined> | undefined;
  /** Told whenever somebody signs in, out (`why`, in words, where it was not their wish), or has a
   * newer token. */
  changed: (token: string | undefined, why?: string) => void = () => {};

  constructor(
    private readonly store: Storage,
    private readonly api: () => Api,
  ) {
    this.kept = read(store.getItem(KEY));
    this.renewInTime();
  }

  get token(): string | undefined {
    return this.kept?.token;
  }

  /** For people: who it is. */
  get user(): string {
    return this.kept?.user ?? "";
  }

  /** Signs in with the one-time code of the development issuer. */
  async withCode(code: string): Promise<void> {
    this.keep(await this.issued("/dev/sign-in", { code }));
  }

  /** Signs in with a token of any issuer that the gateway trusts; says what is wrong with it. */
  withToken(pasted: string): string | undefined {
    const token = pasted.trim().replace(/^Bearer\s+/i, "");
    if (token.length > TOKEN_MAX) return "This is too long for a token.";
    const claims = readClaims(token);
    if (claims === undefined) return "This is not a JSON Web Token.";
    if (claims.expires !== undefined && claims.expires < Date.now()) {
      return "This token has run out.";
    }
    this.keep({ token, ...claims, renewable: false });
    return undefined;
  }

  /** A newer token, where there is one to be had; rejected where the gateway does not say. Asked
   * by many at once, it asks once. */
  renew(): Promise<string | undefined> {
    const { kept: old } = this;
    if (old?.renewable !== true) return Promise.resolve(undefined);
    this.renewing ??= this.issued("/dev/renew", {})
      .then((kept) => {
        // Whoever signed out meanwhile stays signed out.
        if (this.kept !== old) return this.kept?.token;
        this.keep(kept);
        return kept.token;
      })
      .catch((error: unknown) => {
        if (this.kept !== old) return this.kept?.token;
        // Only a clear no ends the sign-in; a gateway that restarts does not.
        if (error instanceof Problem && (error.status === 401 || error.status === 403)) {
          this.refused(error.code);
          return undefined;
        }
        this.renewInTime();
        throw error;
      })
      .finally(() => {
        this.renewing = undefined;
      });
    return this.renewing;
  }

  out(why?: string): void {
    this.kept = undefined;
    clearTimeout(this.timer);
    this.store.removeItem(KEY);
    this.changed(undefined, why);
  }

  /** The gateway does not take the token (any more): `code` is its word for why, where it said. */
  refused(code?: string): void {
    // Told by several requests, it was told once.
    if (this.kept !== undefined) this.out(refusedWords(code, this.kept.renewable));
  }

  private async issued(path: string, body: object): Promise<Kept> {
    const answer = (await this.api().call("POST", path, body)) as
      | Record<string, unknown>
      | undefined;
    const { token, expires_in, user } = answer ?? {};
    if (typeof token !== "string") {
      throw new Problem(502, "unreadable", "The gateway's answer cannot be read.", undefined);
    }
    const kept: Kept = { token, user: typeof user === "string" ? user : "", renewable: true };
    if (typeof expires_in === "number") kept.expires = Date.now() + expires_in * 1000;
    return kept;
  }

  private keep(kept: Kept): void {
    this.kept = kept;
    this.store.setItem(KEY, JSON.stringify(kept));
    this.renewInTime();
    this.changed(kept.token);
  }

  private renewInTime(): void {
    clearTimeout(this.timer);
    if (this.kept?.renewable !== true || this.kept.expires === undefined) return;
    const left = Math.max(RETRY_MILLIS, (this.kept.expires - Date.now()) * RENEW_AFTER);
    const renew = () => void this.renew().catch(() => {});
    this.timer = setTimeout(renew, Math.min(left, TIMER_MAX));
  }
}

function refusedWords(code: string | undefined, issuedHere: boolean): string {
  const again = "Sign in again: your sessions go on meanwhile.";
  if (code === undefined || code === "token_expired") return `Your sign-in has run out. ${again}`;
  if (!issuedHere) return "The gateway did not accept this token.";
  return `The gateway does not accept your sign-in any more. ${again}`;
}

function read(text: string | null): Kept | undefined {
  if (text === null) return undefined;
  try {
    const kept = JSON.parse(text) as Kept;
    return typeof kept.token === "string" && typeof kept.user === "string" ? kept : undefined;
  } catch {
    return undefined;
  }
}

/** What a token says of itself, for show: the gateway is the one that checks it. */
function readClaims(token: string): { user: string; expires?: number } | undefined {
  const parts = token.split(".");
  if (parts.length !== 3 || !/^[A-Za-z0-9_.-]+$/.test(token)) return undefined;
  try {
    const base64 = (parts[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown; exp?: unknown };
    const user = typeof claims.sub === "string" ? claims.sub : "";
    return typeof claims.exp === "number" ? { user, expires: claims.exp * 1000 } : { user };
  } catch {
    return undefined;
  }
}

/** Takes a one-time code out of the address: it is gone from the address bar and the history
 * before anything else happens. */
export function takeCode(page: Window): string | undefined {
  const fragment = new URLSearchParams(page.location.hash.slice(1));
  const code = fragment.get("code");
  if (code === null) return undefined;
  page.history.replaceState(null, "", page.location.pathname + page.location.search);
  return code === "" ? undefined : code;
}
