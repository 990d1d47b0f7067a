// The whole library over real WebSockets: a scripted gateway cuts it off again and again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import {
  Api,
  Connection,
  type Problem,
  randomId,
  type Said,
  type Socket,
} from "../src/client/index.ts";
import { ScriptedGateway } from "./scripted_gateway.ts";

/** A terminal that draws at once and remembers everything. */
class Terminal {
  text = "";
  readonly said: Said[] = [];
  readonly connection: Connection;
  private readonly wanted: { when: (terminal: Terminal) => boolean; go: () => void }[] = [];

  constructor(gateway: ScriptedGateway, api: Api, id: string) {
    const address = `${gateway.base.replace("http", "ws")}/v1/sessions/${id}/attach`;
    this.connection = new Connection(
      {
        role: "driver",
        client: randomId(),
        freshStream: randomId,
        size: { cols: 80, rows: 24 },
        chance: Math.random,
        window: 65536,
      },
      {
        socket: (subprotocols) => new WebSocket(address, subprotocols) as unknown as Socket,
        ticket: (role) => api.ticket(id, role),
        renew: async () => undefined,
        said: (said) => this.hear(said),
        now: () => performance.now(),
      },
    );
    this.connection.tell({ on: "start" });
  }

  types(text: string): void {
    this.connection.tell({ on: "typed", bytes: new TextEncoder().encode(text) });
  }

  /** Waits, not for ever. */
  until(what: string, when: (terminal: Terminal) => boolean): Promise<void> {
    if (when(this)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`never: ${what}`)), 10_000);
      this.wanted.push({
        when,
        go: () => {
          clearTimeout(late);
          resolve();
        },
      });
    });
  }

  private hear(said: Said): void {
    this.said.push(said);
    if (said.do === "draw" && said.what.draw === "bytes") {
      const { bytes, mark } = said.what;
      this.text += new TextDecoder().decode(bytes);
      setImmediate(() => this.connection.tell({ on: "drew", mark }));
    }
    for (const one of [...this.wanted]) {
      if (!one.when(this)) continue;
      this.wanted.splice(this.wanted.indexOf(one), 1);
      one.go();
    }
  }
}

/** Runs a story with a gateway, and leaves nothing of it behind. */
async function withGateway(
  story: (gateway: ScriptedGateway, attach: (id: string) => Terminal) => Promise<void>,
): Promise<void> {
  const gateway = await ScriptedGateway.start();
  const terminals: Terminal[] = [];
  try {
    await story(gateway, (id) => {
      const terminal = new Terminal(gateway, api(gateway), id);
      terminals.push(terminal);
      return terminal;
    });
    assert.deepEqual(gateway.violations, []);
  } finally {
    for (const terminal of terminals) terminal.connection.tell({ on: "leave" });
    await gateway.stop();
  }
}

function api(gateway: ScriptedGateway): Api {
  const token = gateway.token();
  return new Api({ base: gateway.base, token: () => token, fetch });
}

test("a long listing arrives once and in order though its connection is cut again and again", () =>
  withGateway(async (gateway, attach) => {
    const session = gateway.open();
    const terminal = attach(session.id);
    await terminal.until("a prompt", ({ text }) => text.includes("$ "));
    const expected = Array.from({ length: 20_000 }, (_, n) => `line ${n + 1} of 20000\r\n`).join(
      "",
    );
    for (let cut = 1; cut <= 5; cut++) {
      const seen = terminal.text.length;
      gateway.cutAfter = seen + 100_000;
      const cuts = gateway.cuts;
      terminal.types("count 20000\r");
      const whole = ({ text }: Terminal) => text.slice(seen).includes("line 20000 of 20000\r\n");
      await terminal.until("the whole listing", whole);
      assert.equal(gateway.cuts, cuts + 1, "it was cut");
      assert.ok(terminal.text.slice(seen).includes(expected), "each line once, in order");
    }
    assert.equal(session.typed.toString(), "count 20000\r".repeat(5));
  }));

test("what is typed into a broken connection is applied once when it is back", () =>
  withGateway(async (gateway, attach) => {
    const session = gateway.open();
    const terminal = attach(session.id);
    await terminal.until("a prompt", ({ text }) => text.includes("$ "));
    let sent = "";
    for (let n = 0; n < 30; n++) {
      const word = `add ${n} ${n}\r`;
      terminal.types(word);
      sent += word;
      if (n % 3 === 0) gateway.cut(session.id);
      await terminal.until(`the sum of ${n}`, ({ text }) =>
        text.includes(`add ${n} ${n}\r\n${2 * n}\r\n`),
      );
    }
    assert.equal(session.typed.toString(), sent);
  }));

test("the end of a program is shown with its code, and nobody comes back", () =>
  withGateway(async (gateway, attach) => {
    const session = gateway.open();
    const terminal = attach(session.id);
    await terminal.until("a prompt", ({ text }) => text.includes("$ "));
    terminal.types("exit 7\r");
    await terminal.until("the end", ({ said }) =>
      said.some((one) => one.do === "status" && one.status.state === "stopped"),
    );
    const last = terminal.said.findLast((one) => one.do === "status");
    assert.deepEqual(last, {
      do: "status",
      status: {
        state: "stopped",
        stopped: { why: "ended", code: "session_ended" },
        exit: { code: 7, reason: "exited" },
      },
    });
    assert.ok(terminal.text.endsWith("logout\r\n"));
  }));

test("a refusal says its code and when to come back", () =>
  withGateway(async (gateway) => {
    gateway.refusal = { status: 429, code: "too_many_sessions", detail: "Full.", retryAfter: 12 };
    await assert.rejects(api(gateway).create({}), (problem: Problem) => {
      assert.deepEqual(
        [problem.status, problem.code, problem.detail, problem.retryAfter],
        [429, "too_many_sessions", "Full.", 12],
      );
      return true;
    });
  }));

test("all sessions are listed page by page, the youngest first", () =>
  withGateway(async (gateway) => {
    gateway.pageMax = 3;
    const opened = Array.from({ length: 7 }, () => gateway.open().id);
    const pages: string[][] = [];
    for await (const page of api(gateway).sessions()) pages.push(page.map(({ id }) => id));
    assert.deepEqual(
      pages.map((page) => page.length),
      [3, 3, 1],
    );
    assert.deepEqual(pages.flat(), opened.reverse());
  }));

test("nobody there is a problem of its own", async () => {
  const gateway = await ScriptedGateway.start();
  const nobody = api(gateway);
  await gateway.stop();
  await assert.rejects(nobody.sessions().next(), (problem: Problem) => problem.status === 0);
});
