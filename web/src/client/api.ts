// The gateway's REST interface as far as a person's page needs it. Knows no view and stores
// nothing: the token is asked for at each call.

import {
  type ExitStatus,
  isSessionId,
  type Mode,
  type Role,
  readExitStatus,
  type Size,
} from "./messages.ts";

/** How long a request may take, in milliseconds. */
const REQUEST_MILLIS = 15_000;

/** Sessions that are asked for at once: as many as a gateway gives. */
const PAGE = 200;

/** Pages that are asked for in a row: a list that goes on for ever is no list. */
const PAGES_MAX = 1000;

/** Where a session is in its life. */
export type SessionState = "starting" | "live" | "severed" | "stopping" | "ended";

const STATES: readonly SessionState[] = ["starting", "live", "severed", "stopping", "ended"];

/** A session, as its owner sees it. */
export interface Session {
  id: string;
  name?: string;
  template?: string;
  state: SessionState;
  mode: Mode;
  /** Milliseconds since 1970. */
  created?: number;
  /** Whether somebody drives it. */
  attached: boolean;
  /** `none`: nothing but the gateway can be reached from inside. */
  network?: string;
  /** How it ended. */
  exit?: ExitStatus;
  /** When it ended, in milliseconds since 1970. */
  endedAt?: number;
}

/** What a session is to be. */
export interface Wish {
  name?: string;
  template?: string;
  /** Of its terminal, from its program's first line on. */
  size?: Size;
}

/** Why a request failed: RFC 9457, or nobody answered (`status` 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    /** For machines: `too_many_sessions`, … */
    readonly code: string | undefined,
    /** For people. */
    readonly detail: string,
    /** Seconds after which it may be tried again. */
    readonly retryAfter: number | undefined,
  ) {
    super(detail);
  }
}

/** What the gateway is asked with. */
export interface ApiSettings {
  /** The gateway's address, without a slash at its end. */
  base: string;
  /** The bearer token now. */
  token: () => string | undefined;
  fetch: typeof fetch;
}

type Fields = Record<string, unknown>;

/** The gateway's REST interface. */
export class Api {
  constructor(private readonly settings: ApiSettings) {}

  /** All of the caller's sessions page by page, the youngest first. */
  async *sessions(): AsyncGenerator<Session[]> {
    let after = "";
    for (let page = 0; page < PAGES_MAX; page++) {
      const answer = await this.call("GET", `/v1/sessions?limit=${PAGE}${after}`);
      const { sessions, next } = (answer ?? {}) as Fields;
      if (!Array.isArray(sessions)) throw unreadable();
      yield sessions.map(readSession);
      if (next === undefined || next === null) return;
      if (typeof next !== "string" || !isSessionId(next)) throw unreadable();
      after = `&after=${next}`;
    }
    throw unreadable();
  }

  async session(id: string): Promise<Session> {
    return readSession(await this.call("GET", `/v1/sessions/${id}`));
  }

  /** Starts a session, or finds the caller's live one of that name; `fresh` where it was started. */
  async create(wish: Wish): Promise<{ session: Session; fresh: boolean }> {
    const { status, body } = await this.request("POST", "/v1/sessions", wish);
    return { session: readSession(body), fresh: status === 201 };
  }

  async stop(id: string): Promise<void> {
    await this.call("DELETE", `/v1/sessions/${id}`);
  }

  /** A stand-in for the token, for one WebSocket. */
  async ticket(id: string, role: Role): Promise<string> {
    const answer = await this.call("POST", `/v1/sessions/${id}/tickets`, { role });
    const ticket = (answer as Fields | undefined)?.ticket;
    if (typeof ticket !== "string" || !/^[A-Za-z0-9_-]{16,512}$/.test(ticket)) throw unreadable();
    return ticket;
  }

  /** One request with the bearer token, where there is one. */
  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    return (await this.request(method, path, body)).body;
  }

  private async request(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: unknown }> {
    const headers: Record<string, string> = { accept: "application/json" };
    const token = this.settings.token();
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    let response: Response;
    let text: string;
    try {
      response = await this.settings.fetch(this.settings.base + path, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(REQUEST_MILLIS),
        credentials: "omit",
        cache: "no-store",
        redirect: "error",
      });
      text = await response.text();
    } catch {
      throw new Problem(0, undefined, "The gateway does not answer.", undefined);
    }
    if (!response.ok) throw problem(response, text);
    const { status } = response;
    if (text === "") return { status, body: undefined };
    try {
      return { status, body: JSON.parse(text) };
    } catch {
      throw unreadable();
    }
  }
}

function unreadable(): Problem {
  return new Problem(502, "unreadable", "The gateway's answer cannot be read.", undefined);
}

/** Reads a failed answer: `application/problem+json`, or whatever stands before the gateway. */
function problem(response: Response, text: string): Problem {
  let fields: Fields = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) fields = parsed as Fields;
  } catch {
    // A proxy's page of HTML: its status says enough.
  }
  const words = [fields.detail, fields.title].find((one) => typeof one === "string" && one !== "");
  const retryAfter = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  return new Problem(
    response.status,
    typeof fields.code === "string" ? fields.code : undefined,
    typeof words === "string" ? words : `The gateway answered with status ${response.status}.`,
    Number.isFinite(retryAfter) && retryAfter >= 0 ? retryAfter : undefined,
  );
}

/** Reads a session; what is not understood is left out, so that a newer gateway may say more. */
export function readSession(value: unknown): Session {
  if (typeof value !== "object" || value === null) throw unreadable();
  const fields = value as Fields;
  const { id, name, template, network } = fields;
  if (typeof id !== "string" || !isSessionId(id)) throw unreadable();
  const state = STATES.find((one) => one === fields.state);
  if (state === undefined) throw unreadable();
  const session: Session = {
    id,
    state,
    mode: fields.mode === "lines" ? "lines" : "terminal",
    attached: fields.attached === true,
  };
  if (typeof name === "string" && name !== "") session.name = name;
  if (typeof template === "string") session.template = template;
  if (typeof network === "string") session.network = network;
  const created = readTime(fields.created_at ?? fields.created);
  if (created !== undefined) session.created = created;
  const ended = fields.exit ?? fields.ended;
  const exit = readExitStatus(ended);
  if (exit !== undefined) {
    session.exit = exit;
    const endedAt = readTime((ended as Fields).at);
    if (endedAt !== undefined) session.endedAt = endedAt;
  }
  return session;
}

/** A time as RFC 3339, as seconds or as milliseconds since 1970. */
function readTime(value: unknown): number | undefined {
  if (typeof value === "string") {
    const time = Date.parse(value);
    return Number.isNaN(time) ? undefined : time;
  }
  if (typeof value !== "number" || !Number.isFinite(value)) return undefined;
  return value < 1e11 ? value * 1000 : value;
}
