// A gateway, a bridge and a shell in one, small enough to script: for tests of the library and the
// page. It keeps the wire's promises towards its clients, checks theirs, and can be told to cut,
// refuse and end. Listens on loopback only.

import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { frameToBytes, Kind, parseFromClient } from "../src/client/frame.ts";
import { OUTPUT_FRAME_MAX } from "../src/client/limits.ts";
import type {
  Attach,
  Attached,
  ExitStatus,
  FromClient,
  Starting,
  ToClient,
} from "../src/client/messages.ts";
import { asset, json, problem, type Refusal } from "./scripted_answers.ts";
import { type Channel, freshSession, resize, type Session, view } from "./scripted_session.ts";
import { agentReads, PROMPT, shellReads } from "./scripted_shell.ts";

/** The bodies of all requests in one. */
type Body = Partial<Record<"code" | "name" | "template" | "role", string>> & {
  size?: { cols: number; rows: number };
};

/** Sessions, their shells, and whoever is attached. */
export class ScriptedGateway {
  readonly sessions = new Map<string, Session>();
  /** What clients did that no honest client does. */
  readonly violations: string[] = [];
  readonly codes = new Set<string>();
  refusal: Refusal | undefined;
  /** Sent, in this order, to who attaches while a session starts; then `begin` goes on. */
  phases: Starting[] = [];
  /** Cuts a driver's socket once it has been sent so many bytes of output. */
  cutAfter: number | undefined;
  cuts = 0;
  /** The most sessions that one page of them has. */
  pageMax = 200;
  /** While true, nobody gets a socket. */
  down = false;
  private readonly tokens = new Set<string>();
  private readonly tickets = new Map<string, { id: string; role: string }>();
  private readonly waiting = new Map<string, (() => void)[]>();
  private readonly http: Server;
  private readonly ws: WebSocketServer;

  private constructor(private readonly dist: string | undefined) {
    this.http = createServer((request, response) => {
      this.answer(request, response).catch((error: unknown) => {
        this.violations.push(`a request failed: ${String(error)}`);
        response.destroy();
      });
    });
    this.ws = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      handleProtocols: () => "shellgate.v1",
    });
    this.http.on("upgrade", (request, socket, head) => {
      if (this.down) socket.destroy();
      else this.ws.handleUpgrade(request, socket, head, (ws) => this.welcome(ws, request));
    });
  }

  /** Listens on a free port; `dist` is the built page. */
  static async start(dist?: string): Promise<ScriptedGateway> {
    const gateway = new ScriptedGateway(dist);
    await new Promise<void>((resolve) => gateway.http.listen(0, "127.0.0.1", resolve));
    return gateway;
  }

  get base(): string {
    return `http://127.0.0.1:${(this.http.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.ws.clients) socket.terminate();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  /** A one-time code for the address's fragment. */
  code(): string {
    const code = randomBytes(12).toString("base64url");
    this.codes.add(code);
    return code;
  }

  /** A token without a sign-in. */
  token(): string {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = Math.floor(Date.now() / 1000) + 3600;
    const token = `${part({ alg: "none" })}.${part({ sub: "ada", exp })}.${randomBytes(9).toString("base64url")}`;
    this.tokens.add(token);
    return token;
  }

  /** No token is good any more, as when the issuer has another key. */
  forgetTokens(): void {
    this.tokens.clear();
  }

  /** A live session with a shell that has printed its prompt. */
  open(name?: string, state: Session["state"] = "live"): Session {
    const session = freshSession(name, state);
    this.sessions.set(session.id, session);
    this.print(session, PROMPT);
    return session;
  }

  /** A live session whose program speaks by lines. */
  openLines(name?: string): Session {
    const session = freshSession(name, "live", "lines");
    this.sessions.set(session.id, session);
    return session;
  }

  /** A session that was starting is up. */
  begin(id: string): void {
    const session = this.sessions.get(id) as Session;
    session.state = "live";
    for (const go of this.waiting.get(id) ?? []) go();
    this.waiting.delete(id);
  }

  /** Breaks the sockets of a session as a network does: without a word. */
  cut(id: string): void {
    for (const { socket } of this.sessions.get(id)?.channels ?? []) socket.terminate();
  }

  /** Closes the sockets of a session with a code. */
  close(id: string, code: number, reason = ""): void {
    for (const { socket } of this.sessions.get(id)?.channels ?? []) socket.close(code, reason);
  }

  /** Says something to whoever is attached. */
  tell(id: string, message: ToClient): void {
    for (const { socket } of this.sessions.get(id)?.channels ?? []) say(socket, message);
  }

  /** The program prints. */
  print(session: Session, text: string | Buffer): void {
    session.output = Buffer.concat([session.output, Buffer.from(text)]);
    for (const channel of session.channels) this.pump(session, channel);
  }

  /** Forgets output before `offset`, as a full ring does. */
  forget(session: Session, offset: number): void {
    session.keptFrom = offset;
  }

  /** The program ends. */
  end(session: Session, exit: ExitStatus): void {
    session.exit = exit;
    session.state = "ended";
    session.endedAt = Date.now();
    for (const channel of session.channels) this.pump(session, channel);
  }

  // ── Requests ──

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.base);
    if (this.down) {
      response.destroy();
      return;
    }
    if (request.method === "GET" && !url.pathname.startsWith("/v1/")) {
      asset(this.dist, url.pathname, response);
      return;
    }
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const body = (text === "" ? {} : JSON.parse(text)) as Body;
    if (url.pathname === "/dev/sign-in") {
      if (!this.codes.delete(body.code ?? "")) {
        problem(response, {
          status: 401,
          code: "bad_code",
          detail: "No such code.",
          retryAfter: 0,
        });
      } else json(response, 200, { token: this.token(), expires_in: 3600, user: "ada" });
      return;
    }
    if (!this.tokens.has((request.headers.authorization ?? "").replace("Bearer ", ""))) {
      problem(response, { status: 401, code: "bad_token", detail: "Sign in.", retryAfter: 0 });
      return;
    }
    if (url.pathname === "/dev/renew") {
      json(response, 200, { token: this.token(), expires_in: 3600, user: "ada" });
      return;
    }
    this.api(request.method ?? "", url, body, response);
  }

  private api(method: string, url: URL, body: Body, response: ServerResponse): void {
    const [, , , id, what] = url.pathname.split("/");
    if (id === undefined) {
      if (method === "GET") {
        json(response, 200, this.page(url.searchParams));
        return;
      }
      if (this.refusal !== undefined) {
        problem(response, this.refusal);
        return;
      }
      const state = this.phases.length > 0 ? "starting" : "live";
      const lines = body.template === "lines";
      const session = lines ? this.openLines(body.name) : this.open(body.name, state);
      if (body.size !== undefined) resize(session, body.size);
      json(response, 201, view(session));
      return;
    }
    const session = this.sessions.get(id);
    if (session === undefined) {
      problem(response, { status: 404, code: "no_such_session", detail: "None.", retryAfter: 0 });
    } else if (what === "tickets") {
      const ticket = randomBytes(24).toString("base64url");
      this.tickets.set(ticket, { id, role: body.role ?? "driver" });
      json(response, 201, { ticket, expires_in: 30 });
    } else if (method === "DELETE") {
      this.end(session, { reason: "stopped", signal: "HUP" });
      json(response, 202, view(session));
    } else json(response, 200, view(session));
  }

  /** A page of sessions, the youngest first, and where the next one begins. */
  private page(wanted: URLSearchParams): object {
    const limit = Math.min(Number(wanted.get("limit") ?? 50), this.pageMax);
    const all = [...this.sessions.values()].reverse();
    const begin = all.findIndex(({ id }) => id === wanted.get("after")) + 1;
    const sessions = all.slice(begin, begin + limit).map(view);
    const last = all[begin + limit - 1];
    return begin + limit < all.length ? { sessions, next: last?.id } : { sessions };
  }

  // ── Attachments ──

  private welcome(socket: WebSocket, request: IncomingMessage): void {
    socket.on("error", () => {});
    const id = (request.url ?? "").split("/")[3] ?? "";
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",");
    const ticket = offered.map((one) => one.trim()).find((one) => one.startsWith("ticket."));
    const grant = this.tickets.get(ticket?.slice("ticket.".length) ?? "");
    this.tickets.delete(ticket?.slice("ticket.".length) ?? "");
    const session = this.sessions.get(id);
    if (grant === undefined || grant.id !== id) {
      socket.close(4401, "bad_ticket");
      return;
    }
    if (session === undefined) {
      socket.close(4404, "no_such_session");
      return;
    }
    let channel: Channel | undefined;
    socket.on("message", (data: Buffer, binary) => {
      if (channel === undefined) {
        const first = JSON.parse(String(data)) as FromClient;
        if (binary || first.type !== "attach" || first.role !== grant.role) {
          this.violations.push("attach did not come first");
          socket.close(4400, "bad_request");
          return;
        }
        const made: Channel = {
          socket,
          attach: first,
          acked: 0,
          sent: 0,
          window: first.window,
          received: 0,
          live: false,
          ended: false,
        };
        channel = made;
        if (session.state === "starting") {
          for (const phase of this.phases) say(socket, phase);
          const queue = this.waiting.get(id) ?? [];
          this.waiting.set(id, [...queue, () => this.attach(session, made)]);
        } else this.attach(session, made);
      } else if (binary) this.frame(session, channel, new Uint8Array(data));
      else this.control(session, channel, JSON.parse(String(data)) as FromClient);
    });
    socket.on("close", () => {
      if (channel === undefined || !session.channels.delete(channel)) return;
      if (channel.attach.role === "observer") this.countObservers(session);
    });
  }

  private attach(session: Session, channel: Channel): void {
    const { attach, socket } = channel;
    if (socket.readyState !== socket.OPEN) return;
    if (session.exit !== undefined && attach.role === "observer") {
      this.seeOff(session, session.exit, channel);
      return;
    }
    if (attach.role === "driver" && !this.driverMayCome(session, attach)) {
      socket.close(4409, "another_driver");
      return;
    }
    const end = session.output.length;
    const known = attach.launch === 1 && attach.output !== undefined ? attach.output : undefined;
    const exact = known !== undefined && known >= session.keptFrom && known <= end;
    const fresh = known === undefined && end < 4096;
    const lines = session.mode === "lines";
    const kept = lines && known !== undefined ? Math.max(known, session.keptFrom) : undefined;
    const from = kept ?? (exact ? known : fresh && !lines ? 0 : end);
    const applied = session.applied.get(attach.input_stream) ?? 0;
    channel.sent = from;
    channel.acked = from;
    channel.received = applied;
    session.applied.set(attach.input_stream, applied);
    if (attach.role === "driver") resize(session, attach.size);
    session.channels.add(channel);
    say(socket, {
      ...attachedTo(session, attach),
      output: { from, resume: exact || fresh || lines ? "exact" : "keyframe" },
      input: { applied },
    });
    const gap = !exact && (!fresh || lines) && known !== undefined;
    if (gap) say(socket, { type: "gap", from: known, to: from, why: "lost" });
    if (attach.role === "observer") say(socket, { type: "size", ...session.size, at: from });
    if (!exact && !fresh && !lines) {
      // Not a whole terminal's state: the last lines stand for it.
      const screen = session.output.subarray(Math.max(0, end - 2048));
      const line = screen.indexOf(10) + 1;
      send(socket, Kind.Keyframe, from, screen.subarray(line));
    }
    this.pump(session, channel);
    this.countObservers(session);
  }

  /** Its last lines stand for the last screen of a session that has ended. */
  private seeOff(session: Session, exit: ExitStatus, { attach, socket }: Channel): void {
    const at = session.output.length;
    say(socket, {
      ...attachedTo(session, attach),
      output: { from: 0, resume: "ended" },
      input: { applied: 0 },
    });
    say(socket, { type: "gap", from: 0, to: at, why: "lost" });
    send(socket, Kind.Keyframe, at, session.output.subarray(-2048));
    say(socket, { type: "exit", at, ...exit });
    socket.close(4410, "session_ended");
  }

  /** One driver: the same page replaces itself, another one has to say that it takes over. */
  private driverMayCome(session: Session, attach: Attach): boolean {
    for (const other of session.channels) {
      if (other.attach.role !== "driver") continue;
      const same = other.attach.client === attach.client;
      if (!same && attach.takeover !== true) return false;
      session.channels.delete(other);
      if (!same) {
        const applied = session.applied.get(other.attach.input_stream) ?? 0;
        say(other.socket, { type: "notice", kind: "taken_over", applied });
      }
      other.socket.close(4409, "another_driver");
    }
    return true;
  }

  private countObservers(session: Session): void {
    const count = [...session.channels].filter((one) => one.attach.role === "observer").length;
    for (const { socket } of session.channels) {
      say(socket, { type: "notice", kind: "observers", count });
    }
  }

  /** Sends what the window has room for, replays marked as such, then `live` and `exit`. */
  private pump(session: Session, channel: Channel): void {
    const { socket, attach } = channel;
    const end = session.output.length;
    while (channel.sent < end && channel.sent < channel.acked + channel.window) {
      const replay = channel.sent < session.driverAcked;
      const to = Math.min(
        replay ? session.driverAcked : end,
        channel.acked + channel.window,
        channel.sent + OUTPUT_FRAME_MAX,
      );
      const bytes = session.output.subarray(channel.sent, to);
      send(socket, replay ? Kind.Replay : Kind.Data, channel.sent, bytes);
      channel.sent = to;
      if (attach.role === "driver" && this.cutAfter !== undefined && to >= this.cutAfter) {
        this.cutAfter = undefined;
        this.cuts += 1;
        session.channels.delete(channel);
        socket.terminate();
        return;
      }
    }
    if (channel.sent < end) return;
    if (!channel.live) {
      channel.live = true;
      say(socket, { type: "live" });
    }
    if (session.exit !== undefined && !channel.ended) {
      channel.ended = true;
      say(socket, { type: "exit", at: end, ...session.exit });
      if (channel.acked >= end) socket.close(4410, "session_ended");
    }
  }

  private frame(session: Session, channel: Channel, message: Uint8Array): void {
    const parsed = parseFromClient(message);
    if ("bad" in parsed || !session.channels.has(channel)) {
      if ("bad" in parsed) this.violations.push(`a bad frame: ${parsed.bad}`);
      return;
    }
    const { kind, offset, payload } = parsed.frame;
    if (kind === Kind.Ack) {
      if (offset > channel.sent) this.violations.push(`ack ${offset} beyond ${channel.sent}`);
      channel.acked = Math.max(channel.acked, offset);
      if (channel.attach.role === "driver") {
        session.driverAcked = Math.max(session.driverAcked, offset);
      }
      this.pump(session, channel);
      if (channel.ended && channel.acked >= session.output.length) {
        channel.socket.close(4410, "session_ended");
      }
      return;
    }
    if (channel.attach.role === "observer") {
      this.violations.push("an observer typed");
      return;
    }
    if (offset !== channel.received) {
      this.violations.push(`input at ${offset} where ${channel.received} was next`);
      return;
    }
    channel.received += payload.length;
    session.applied.set(channel.attach.input_stream, channel.received);
    send(channel.socket, Kind.Applied, channel.received, new Uint8Array());
    session.typed = Buffer.concat([session.typed, payload]);
    const reads = session.mode === "lines" ? agentReads : shellReads;
    reads(session, new TextDecoder().decode(payload), {
      print: (text) => this.print(session, text),
      end: (exit) => this.end(session, exit),
    });
  }

  private control(session: Session, channel: Channel, message: FromClient): void {
    switch (message.type) {
      case "ping":
        say(channel.socket, { type: "pong", t: message.t });
        return;
      case "resize":
        resize(session, message);
        for (const { socket, sent } of session.channels) {
          say(socket, { type: "size", ...session.size, at: sent });
        }
        return;
      case "extend":
        say(channel.socket, { type: "notice", kind: "extended", id: message.id, seconds: 7200 });
        return;
      case "signal":
        session.signals.push(message.name);
        if (session.mode === "lines") this.end(session, { reason: "exited", signal: message.name });
        say(channel.socket, { type: "notice", kind: "signalled", id: message.id });
        return;
      case "visible":
      case "reauth":
        return;
      case "attach":
        this.violations.push("attach came twice");
        return;
    }
  }
}

function attachedTo(session: Session, attach: Attach): Omit<Attached, "output" | "input"> {
  const { window, role } = attach;
  return {
    type: "attached",
    session: session.id,
    launch: 1,
    mode: session.mode,
    role,
    size: session.size,
    limits: { window, input_frame: 16384, input_unapplied: 1048576, control: 16384 },
  };
}

function say(socket: WebSocket, message: ToClient): void {
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message));
}

function send(socket: WebSocket, kind: Kind, offset: number, payload: Uint8Array): void {
  if (socket.readyState === socket.OPEN) socket.send(frameToBytes({ kind, offset, payload }));
}
