// One attachment to one session, across any number of sockets: events in, actions out. Knows no
// socket, no clock and no chance; its skin (`connection.ts`) has those.
//
//   ready ──start──▶ ticketing ──ticket──▶ opening ──open──▶ greeting ──attached──▶ attached
//                        ▲                    │                 │                     │
//                        └──────── waiting ◀──┴── closed, retry ┴─────────────────────┤
//                        └──────── renewing ◀── 4401, once ─────┴─────────────────────┤
//                                  stopped  ◀── closed, stop ───┴─────────────────────┘

import { CloseCode } from "./close.ts";
import { Comeback, type Next } from "./comeback.ts";
import type { Action, Event, Lost } from "./event.ts";
import { type Frame, frameToBytes, Kind, parseToClient } from "./frame.ts";
import * as limits from "./limits.ts";
import {
  type Attached,
  type FromClient,
  type Notice,
  type Role,
  readToClient,
  type ToClient,
} from "./messages.ts";
import type { Drawing, Mark } from "./output.ts";
import { Pulse } from "./pulse.ts";
import { type InStream, Reading } from "./reading.ts";
import { Requests } from "./requests.ts";
import type { Settings } from "./settings.ts";
import type { Status } from "./status.ts";
import type { Stopped } from "./stopped.ts";
import { ToldSize } from "./told_size.ts";
import { Typing } from "./typing.ts";

type State =
  | { name: "ready" | "greeting" | "attached" | "draining" | "stopped" }
  | { name: "ticketing" | "opening" | "renewing"; deadline: number }
  | { name: "waiting"; until: number };

/** The whole of one attachment. Feed it events; do what it says; wake it at `wakeAt`. */
export class Attachment {
  private state: State = { name: "ready" };
  private role: Role;
  private readonly size: ToldSize;
  private readonly window: number;
  private readonly reading = new Reading();
  private readonly typing: Typing;
  private readonly requests = new Requests();
  private readonly comeback: Comeback;
  private pulse = new Pulse(0);
  private socket = 0;
  private launch: number | undefined;
  private takeover = false;
  private visible = true;
  private readonly actions: Action[] = [];

  constructor(private readonly settings: Settings) {
    this.role = settings.role;
    this.size = new ToldSize(settings.size);
    this.window = settings.window ?? limits.WINDOW_DEFAULT;
    this.typing = new Typing(settings.freshStream);
    this.comeback = new Comeback(settings.chance);
    if (settings.fresh === true) this.reading.fromStart(limits.FIRST_LAUNCH);
  }

  /** Takes one event, at `now` (milliseconds of a steady clock). */
  handle(event: Event, now: number): Action[] {
    if ("socket" in event && event.socket !== this.socket) return [];
    if (event.on === "text" || event.on === "binary") this.pulse.heard(now);
    this.take(event, now);
    this.settle(now);
    return this.actions.splice(0);
  }

  /** When `tick` is due next, in the same clock; undefined where nothing is. */
  wakeAt(now: number): number | undefined {
    const times: (number | undefined)[] = [];
    const { state } = this;
    if (state.name === "waiting") times.push(state.until);
    if ("deadline" in state) times.push(state.deadline);
    if (this.isOpen()) times.push(this.pulse.askAt, this.pulse.deadAt, this.comeback.leaveAt);
    if (state.name === "attached") {
      const due = this.reading.due(now);
      if ("at" in due) times.push(due.at);
      if (this.role === "driver") times.push(this.size.dueAt);
      times.push(...this.requests.dueAt);
    }
    const due = times.filter((at) => at !== undefined);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  private take(event: Event, now: number): void {
    switch (event.on) {
      case "start":
        if (this.state.name === "ready") this.dial(now);
        return;
      case "ticket":
        if (this.state.name !== "ticketing") return;
        this.state = { name: "opening", deadline: now + limits.CONNECT_MILLIS };
        this.actions.push({ do: "open", socket: this.socket, ticket: event.ticket });
        return;
      case "no_ticket":
        if (this.state.name === "ticketing") {
          this.proceed(this.comeback.afterRefusal(event.failure, now), now);
        }
        return;
      case "open":
        if (this.state.name === "opening") this.greet(now);
        return;
      case "text":
        if (this.isOpen()) this.text(event.text, now);
        return;
      case "binary":
        if (this.isOpen()) this.binary(event.bytes, now);
        return;
      case "closed":
        if (this.state.name === "opening" || this.isOpen()) {
          this.socket += 1;
          const next = this.comeback.afterClose(event.code, event.reason, now);
          if ("forgotten" in next) this.beginStream("forgotten");
          this.proceed(next, now);
        }
        return;
      case "renewed":
        if (this.state.name === "renewing") this.dial(now);
        else if (this.isOpen()) this.send({ type: "reauth", token: event.token });
        return;
      case "not_renewed":
        // While a socket is open its own close says when the old token has run out.
        if (this.state.name === "renewing") this.stop({ why: "unauthenticated" });
        return;
      case "nobody_renewed":
        if (this.state.name === "renewing") this.proceed(this.comeback.afterSilence(now), now);
        return;
      case "typed":
        this.typed(event.bytes);
        return;
      case "drew":
        this.drew(event.mark, now);
        return;
      case "resized":
        this.size.now = event.size;
        return;
      case "visible":
        if (this.visible !== event.yes) {
          this.visible = event.yes;
          if (this.state.name === "attached") this.send({ type: "visible", yes: event.yes });
        }
        return;
      case "signal":
        this.request((id) => ({ type: "signal", id, name: event.name }), now);
        return;
      case "extend":
        this.request((id) => ({ type: "extend", id }), now);
        return;
      case "take_over":
        this.takeover = true;
        this.attachAs("driver", now);
        return;
      case "attach_as":
        this.attachAs(event.role, now);
        return;
      case "hurry":
        if (this.state.name === "waiting") this.dial(now);
        return;
      case "leave":
        this.drop(CloseCode.Normal);
        this.stop({ why: "left" });
        return;
      case "tick":
        this.tick(now);
        return;
    }
  }

  private isOpen(): boolean {
    return this.state.name === "greeting" || this.state.name === "attached";
  }

  // ── Getting there ──

  private attachAs(role: Role, now: number): void {
    this.drop(CloseCode.Normal);
    this.role = role;
    this.comeback.wanted();
    this.dial(now);
  }

  private dial(now: number): void {
    // Each attachment may have a whole window under way. What earlier ones left in the terminal's
    // queue goes first, so that a flapping network cannot pile up windows there.
    if (this.reading.undrawn > this.window / 4) {
      this.state = { name: "draining" };
    } else {
      this.socket += 1;
      this.state = { name: "ticketing", deadline: now + limits.CONNECT_MILLIS };
      this.actions.push({ do: "get_ticket", socket: this.socket, role: this.role });
    }
    this.status({ state: "connecting" });
  }

  private greet(now: number): void {
    this.state = { name: "greeting" };
    this.pulse = new Pulse(now);
    this.comeback.opened();
    const attach: FromClient = {
      type: "attach",
      role: this.role,
      client: this.settings.client,
      ...this.reading.position(),
      input_stream: this.typing.stream,
      size: this.size.tell(now),
      window: this.window,
    };
    if (this.takeover) attach.takeover = true;
    // A reconnect that nobody asked for never takes a session from somebody.
    this.takeover = false;
    this.send(attach);
  }

  /** Does what comes after a connection, or after a ticket that was refused. After the end
   * nothing does. */
  private proceed(next: Next, now: number): void {
    if ("stopped" in next || this.reading.exit !== undefined) {
      this.stop("stopped" in next ? next.stopped : { why: "ended" });
    } else if ("renew" in next) {
      this.state = { name: "renewing", deadline: now + limits.CONNECT_MILLIS };
      this.actions.push({ do: "renew" });
      this.status({ state: "connecting" });
    } else if (next.until <= now) {
      this.dial(now);
    } else {
      const { until } = next;
      this.state = { name: "waiting", until };
      this.status({ state: "waiting", until, failures: this.comeback.failures });
    }
  }

  // ── Being there ──

  private text(json: string, now: number): void {
    const parsed = readToClient(json);
    if ("bad" in parsed) this.fault(`a bad message: ${parsed.bad}`);
    else this.message(parsed.message, now);
  }

  private message(message: ToClient, now: number): void {
    switch (message.type) {
      case "starting":
        this.status({ state: "starting", starting: message, at: now });
        return;
      case "attached":
        this.attached(message, now);
        return;
      case "notice":
        this.notice(message);
        return;
      case "goaway":
        this.comeback.goaway(message.retry_ms, now);
        return;
      case "pong": {
        const millis = this.pulse.answered(message.t, now);
        if (millis !== undefined) this.actions.push({ do: "latency", millis });
        return;
      }
      case "size":
      case "gap":
      case "live":
      case "exit":
        if (this.state.name === "attached") this.inStream(message, now);
        else this.fault(`${message.type} before attached`);
        return;
    }
  }

  private inStream(message: InStream, now: number): void {
    this.draw(this.reading.message(message), now);
    const status = this.reading.exit;
    if (message.type === "exit" && status !== undefined) this.actions.push({ do: "exit", status });
  }

  private attached(attached: Attached, now: number): void {
    if (this.state.name !== "greeting") {
      this.fault("attached twice");
      return;
    }
    // To the end of a session everybody is an observer, and its input goes nowhere.
    const over = attached.output.resume === "ended";
    if (attached.role !== this.role && !over) {
      this.fault("attached in another role");
      return;
    }
    if (this.reading.asksAgain(attached)) {
      this.drop(CloseCode.Normal);
      this.dial(now);
      return;
    }
    this.state = { name: "attached" };
    this.comeback.attached(now);

    const { launch, input, mode } = attached;
    const sameLaunch = this.launch === undefined || this.launch === launch;
    if (!sameLaunch) {
      this.loseInput("new_launch", input.applied);
      this.requests.clear();
    }
    this.launch = launch;
    if (over) this.beginStream("ended");
    else if (this.role === "driver" && !this.typing.resume(attached)) {
      this.fault(`input cannot go on from ${input.applied}`);
      return;
    }
    this.status({ state: "attached", role: attached.role, launch, mode, over });
    this.draw(this.reading.attached(attached, this.window), now);
    if (!this.visible) this.send({ type: "visible", yes: false });
    this.requests.again(now);
    this.ping(now);
  }

  private notice(notice: Notice): void {
    if (notice.kind === "extended" || notice.kind === "signalled") {
      const asked = this.requests.answered(notice.id);
      if (asked?.type === "signal") this.actions.push({ do: "signalled", name: asked.name });
    } else if (notice.kind === "token_expires") {
      this.actions.push({ do: "renew" });
    } else if (notice.kind === "taken_over") {
      if (!this.typing.applied(notice.applied)) {
        this.fault("applied beyond what was typed");
        return;
      }
      // The bridge has dropped the rest of this stream. Another stream begins, so that no offset
      // ever names two different bytes.
      this.beginStream("taken_over");
    }
    this.actions.push({ do: "notice", notice });
  }

  private binary(bytes: Uint8Array, now: number): void {
    const parsed = parseToClient(bytes);
    if ("bad" in parsed) {
      this.fault(`a bad frame: ${parsed.bad}`);
      return;
    }
    if (this.state.name !== "attached") {
      this.fault("a frame before attached");
      return;
    }
    const { frame } = parsed;
    if (frame.kind === Kind.Applied) {
      const before = this.typing.waiting;
      if (!this.typing.applied(frame.offset)) this.fault("applied beyond what was sent");
      else if (this.typing.waiting < before) this.comeback.progressed();
      return;
    }
    const news = this.draw(this.reading.frame(frame, now), now);
    if (news && frame.kind !== Kind.Keyframe) this.comeback.progressed();
  }

  private typed(bytes: Uint8Array): void {
    if (!this.maySend() || this.state.name === "stopped") return;
    if (!this.typing.push(bytes)) {
      this.actions.push({ do: "input_lost", bytes: bytes.length, why: "full" });
    }
  }

  private drew(mark: Mark, now: number): void {
    this.reading.drew(mark, now);
    if (this.state.name === "draining" && this.reading.undrawn <= this.window / 4) this.dial(now);
  }

  private maySend(): boolean {
    return this.role === "driver" && this.reading.exit === undefined;
  }

  private request(make: (id: number) => FromClient, now: number): void {
    if (this.role === "driver" && this.state.name !== "stopped") this.requests.add(make, now);
  }

  // ── Leaving ──

  private stop(stopped: Stopped): void {
    this.state = { name: "stopped" };
    this.requests.clear();
    if (stopped.why === "ended" || stopped.why === "idle") this.loseInput("ended", 0);
    if (stopped.why === "another_driver" && this.typing.waiting > 0) this.beginStream("taken_over");
    const status: Status = { state: "stopped", stopped };
    if (this.reading.exit !== undefined) status.exit = this.reading.exit;
    this.status(status);
  }

  /** The peer broke the protocol: nothing that it says is believed any more. A person may begin
   * anew, with a stream and a screen of their own. */
  private fault(detail: string): void {
    this.drop(CloseCode.BadRequest);
    this.reading.forget();
    this.beginStream("fault");
    this.stop({ why: "protocol", detail });
  }

  /** Gives up the socket; whatever it still says is not heard. */
  private drop(code: number): void {
    if (this.state.name === "opening" || this.isOpen()) this.actions.push({ do: "close", code });
    this.socket += 1;
  }

  private beginStream(why: Lost): void {
    this.loseInput(why, 0);
    this.typing.begin();
  }

  private loseInput(why: Lost, at: number): void {
    const bytes = this.typing.lose(why, at);
    if (bytes > 0) this.actions.push({ do: "input_lost", bytes, why });
  }

  // ── Time ──

  private tick(now: number): void {
    const { state } = this;
    switch (state.name) {
      case "waiting":
        if (now >= state.until) this.dial(now);
        return;
      case "ticketing":
      case "opening":
      case "renewing":
        if (now >= state.deadline) {
          this.drop(CloseCode.Normal);
          this.proceed(this.comeback.afterSilence(now), now);
        }
        return;
      case "greeting":
      case "attached":
        this.watch(now);
        return;
      case "ready":
      case "draining":
      case "stopped":
        return;
    }
  }

  private watch(now: number): void {
    const { deadAt, askAt } = this.pulse;
    const { leaveAt } = this.comeback;
    if (deadAt !== undefined && now >= deadAt) {
      this.drop(CloseCode.Normal);
      this.proceed(this.comeback.afterSilence(now), now);
    } else if (leaveAt !== undefined && now >= leaveAt) {
      this.drop(CloseCode.Normal);
      this.proceed(this.comeback.afterGoodbye(now), now);
    } else if (now >= askAt) this.ping(now);
  }

  private ping(now: number): void {
    this.send({ type: "ping", t: this.pulse.ask(now) });
  }

  /** After every event: what became due goes out. */
  private settle(now: number): void {
    if (this.state.name !== "attached") return;
    const sizeDue = this.role === "driver" ? this.size.dueAt : undefined;
    if (sizeDue !== undefined && now >= sizeDue) {
      this.send({ type: "resize", ...this.size.tell(now) });
    }
    for (const message of this.requests.due(now)) this.send(message);
    const typed = this.maySend() ? this.typing.frames() : [];
    for (const frame of typed) this.sendFrame(frame);
    const due = this.reading.due(now);
    if (due.when === "now" || (due.when === "ride" && typed.length > 0)) {
      const offset = this.reading.acknowledge(now);
      this.sendFrame({ kind: Kind.Ack, offset, payload: new Uint8Array() });
    }
  }

  /** Whether there was anything to draw. Output that cannot be drawn is a fault of this connection
   * alone: what stands on the screen is whole, and the next connection goes on from there. */
  private draw(drawing: Drawing, now: number): boolean {
    if ("fault" in drawing) {
      this.drop(CloseCode.BadRequest);
      // What is left of a session that has ended is the same each time.
      const over = this.reading.ended;
      this.proceed(over ? { stopped: { why: "ended" } } : this.comeback.afterNonsense(now), now);
      return false;
    }
    for (const what of drawing) this.actions.push({ do: "draw", what });
    return drawing.length > 0;
  }

  private send(message: FromClient): void {
    this.actions.push({ do: "send", data: JSON.stringify(message) });
  }

  private sendFrame(frame: Frame): void {
    this.actions.push({ do: "send", data: frameToBytes(frame) });
  }

  private status(status: Status): void {
    this.actions.push({ do: "status", status });
  }
}
