// The page in real headless Chromium: against the gateway at SHELLGATE_STORY_URL (the printed
// address, its one-time code included), or against one of the story's own that the program
// SHELLGATE_STORY_GATEWAY is, or else against a scripted gateway. Screenshots of each state go to
// artifacts/.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { ScriptedGateway } from "../scripted_gateway.ts";
import {
  absent,
  attached,
  browser,
  cable,
  freshWindow,
  listing,
  opensNew,
  opensScripted,
  own,
  ownOnly,
  PATIENCE,
  pictured,
  REAL,
  SHELL,
  scripted,
  scriptedOnly,
  setUp,
  shows,
  signsIn,
  strays,
  tearDown,
  types,
  watched,
} from "./stage.ts";

before(setUp);
after(tearDown);

test("a person signs in with the printed address, and the code is gone from it", {
  skip: absent,
}, async () => {
  const page = await freshWindow();
  if (!REAL) {
    await page.goto(`${cable.base}/`);
    await page.getByRole("heading", { name: "Shellgate" }).waitFor();
    await pictured(page, "01-sign-in");
    await page.goto(`${cable.base}/#code=wrong`);
    await page.getByText("This code does not work").waitFor();
    await pictured(page, "02-sign-in-refused");
  }
  await signsIn(page);
  assert.ok(!page.url().includes("code"), page.url());
  if (!REAL) {
    await page.getByText("No sessions yet").waitFor();
    await pictured(page, "03-no-sessions");
  }
  await page.reload();
  await page.getByRole("heading", { name: "Sessions" }).waitFor();
  await page.context().close();
});

test("a person types, sees, is cut off, resumes without loss or repeat, and exits", {
  skip: absent,
}, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "story");
  await shows(page, "$");
  await types(page, SHELL.sum(19, 23));
  await shows(page, "42");
  await page.getByText("no network", { exact: true }).waitFor();
  if (!REAL) {
    await types(page, "colours");
    await shows(page, "true colour");
  }
  await pictured(page, "10-terminal");

  cable.cutIn(20_000);
  await types(page, SHELL.count(2500));
  await shows(page, "line 2500 of 2500");
  assert.ok(cable.wasCut, "the connection was cut in the middle");
  await attached(page);
  await types(page, SHELL.sum(1000, 234));
  await shows(page, "1234");
  assert.deepEqual(
    await listing(page),
    Array.from({ length: 2500 }, (_, n) => n + 1),
  );

  for (let cut = 1; cut <= 3; cut++) {
    cable.cut();
    await types(page, SHELL.sum(7000, cut));
    await shows(page, `${7000 + cut}`);
  }
  await types(page, "exit 3");
  await page.locator('[data-banner="exit"]').waitFor();
  await page.getByText("Exit code 3.").waitFor();
  assert.equal(
    await page.locator('[data-banner="input"]').count(),
    0,
    "all that was typed arrived",
  );
  await pictured(page, "19-exit");
  await page.context().close();
});

test("a gateway that is killed and started again gives the same shell back", {
  skip: ownOnly,
  timeout: 120_000,
}, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "survivor");
  await shows(page, "$");
  await types(page, `kept=${"$"}((40+2))`);
  await types(page, SHELL.count(300));
  await shows(page, "line 300 of 300");
  await own?.kill();
  await page.locator('[data-banner="connection"] .count').waitFor();
  await page.keyboard.type("echo $((kept*10))");
  await page.waitForFunction(() => {
    const top = (what: string) => document.querySelector(what)?.getBoundingClientRect().top;
    return top(".terminal-host") === top(".xterm-screen");
  });
  await pictured(page, "13-gateway-killed");
  await own?.start();
  await attached(page);
  await page.keyboard.press("Enter");
  await shows(page, "420");
  await page.locator('[data-banner="connection"]').waitFor({ state: "detached" });
  await pictured(page, "14-gateway-back");
  assert.deepEqual(
    await listing(page),
    Array.from({ length: 300 }, (_, n) => n + 1),
  );
  await types(page, "exit");
  await page.locator('[data-banner="exit"]').waitFor();
  await page.context().close();
});

test("a lost gateway is announced with a countdown, and the session goes on where it was", {
  skip: scriptedOnly,
}, async () => {
  const gateway = scripted as ScriptedGateway;
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "away");
  await shows(page, "$");
  gateway.down = true;
  cable.cut();
  await page
    .locator('[data-banner="connection"] .count', { hasText: /Trying again in \d+ s/ })
    .waitFor();
  await page.keyboard.type("add 40 2");
  await pictured(page, "11-reconnecting");
  gateway.down = false;
  await page.keyboard.press("Enter");
  await page
    .locator('[data-banner="connection"]')
    .getByRole("button", { name: "Try now" })
    .click({ timeout: 1000 })
    .catch(() => {});
  await shows(page, "42");
  await page.locator('[data-banner="connection"]').waitFor({ state: "detached" });
  await page.context().close();
});

test("a start shows its phases and how long they take", {
  skip: scriptedOnly,
  timeout: 60_000,
}, async () => {
  const gateway = scripted as ScriptedGateway;
  gateway.phases = [
    { type: "starting", phase: "queued", position: 2, elapsed_ms: 300, expected_ms: 0 },
    { type: "starting", phase: "task", elapsed_ms: 700, expected_ms: 1800 },
  ];
  const page = await freshWindow();
  await signsIn(page);
  await page.getByLabel("Name").fill("slow");
  await page.getByRole("button", { name: "New session" }).click();
  await page.getByText("Starting the sandbox").waitFor();
  await page.getByText("usually 2 s").waitFor();
  await pictured(page, "12-starting");
  gateway.phases = [];
  for (const { id, state } of gateway.sessions.values())
    if (state === "starting") gateway.begin(id);
  await attached(page);
  await page.context().close();
});

test("an observer sees the same, cannot type, and may take over", {
  skip: absent,
  timeout: 60_000,
}, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "shared");
  await shows(page, "$");
  await types(page, SHELL.sum(600, 66));
  await shows(page, "666");

  const other = await freshWindow({ viewport: { width: 900, height: 560 } });
  await signsIn(other);
  const item = other.locator(".session", { hasText: "shared" });
  await item.waitFor();
  await pictured(other, "20-sessions");
  await item.getByRole("button", { name: "Watch shared" }).click();
  await attached(other, "watching");
  await shows(other, "666");
  await other.keyboard.type("never typed");
  await page.getByText("1 watching").waitFor();
  await types(page, SHELL.sum(700, 77));
  await shows(other, "777");
  // The driver's window is larger: all of it is shown, in a smaller font.
  await other.locator(".xterm-rows > div").first().waitFor();
  const inside = await other.evaluate(() => {
    const host = document.querySelector(".terminal-host")?.getBoundingClientRect();
    const screen = document.querySelector(".xterm-screen")?.getBoundingClientRect();
    if (host === undefined || screen === undefined) return false;
    return (
      screen.top >= host.top && screen.bottom <= host.bottom + 1 && screen.right <= host.right + 1
    );
  });
  assert.ok(inside, "an observer sees the whole terminal");
  await pictured(other, "21-observer");

  await other.getByRole("button", { name: "Take over" }).click();
  await other.getByRole("heading", { name: "Take this session over?" }).waitFor();
  await pictured(other, "22-take-over");
  await other.locator("dialog").getByRole("button", { name: "Take over" }).click();
  await attached(other);
  await types(other, SHELL.sum(800, 88));
  await shows(other, "888");
  assert.equal(await other.getByText("never typed").count(), 0);

  await page.getByRole("heading", { name: "This session is open elsewhere" }).waitFor();
  await pictured(page, "23-taken-over");
  await page.getByRole("button", { name: "Watch" }).click();
  await attached(page, "watching");
  await shows(page, "888");

  // A page that comes by itself is no reason to take a session from somebody.
  const third = await freshWindow();
  await signsIn(third);
  await third
    .locator(".session", { hasText: "shared" })
    .getByRole("button", { name: "Open shared" })
    .click();
  await third.getByRole("heading", { name: "This session is open elsewhere" }).waitFor();
  for (const one of [page, other, third]) await one.context().close();
});

test("a full gateway says so, with the reason and when to come back", {
  skip: scriptedOnly,
}, async () => {
  const gateway = scripted as ScriptedGateway;
  const page = await freshWindow();
  await signsIn(page);
  gateway.refusal = {
    status: 503,
    code: "gateway_full",
    detail: "The gateway is full: try again later.",
    retryAfter: 2,
  };
  await page.getByLabel("Name").fill("busy");
  await page.getByRole("button", { name: "New session" }).click();
  await page.locator('[data-refusal="gateway_full"]').waitFor();
  assert.ok(await page.getByRole("button", { name: "Try again" }).isDisabled());
  await page.getByText("You can try again in").waitFor();
  await pictured(page, "30-busy");
  gateway.refusal = undefined;
  await page.getByText("You can try again now.").waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await attached(page);
  await page.context().close();
});

test("an idle session warns, and is extended", {
  skip: scriptedOnly,
  timeout: 60_000,
}, async () => {
  const { gateway, page, session } = await opensScripted("idle");
  gateway.tell(session.id, { type: "notice", kind: "idle_warning", seconds: 300 });
  gateway.tell(session.id, { type: "notice", kind: "policy", text: "Maintenance at noon." });
  await page.getByText("In 5 minutes").waitFor();
  await pictured(page, "31-idle-warning");
  await page.getByRole("button", { name: "Extend" }).click();
  await page.getByText("Extended: at least 2 h from now.").waitFor();
  gateway.close(session.id, 4408, "idle");
  gateway.end(session, { reason: "idle" });
  await page.locator('[data-banner="exit"], [data-stopped="idle"]').first().waitFor();
  await page.context().close();
});

test("output that is gone is announced, and the newest screen is shown", {
  skip: scriptedOnly,
}, async () => {
  const { gateway, page, session } = await opensScripted("gone");
  gateway.down = true;
  cable.cut();
  await page.locator('[data-banner="connection"]').waitFor();
  gateway.print(session, `${"lost ".repeat(60_000)}\r\nthe newest line\r\n`);
  gateway.forget(session, session.output.length);
  gateway.down = false;
  await page
    .locator('[data-banner="connection"]')
    .getByRole("button", { name: "Try now" })
    .click({ timeout: 1000 })
    .catch(() => {});
  await page.getByText("of output were not kept").waitFor();
  await shows(page, "the newest line");
  await pictured(page, "32-gap");
  await page.context().close();
});

test("queries that a terminal answered once are not answered again when they are replayed", {
  skip: scriptedOnly,
}, async () => {
  const { page, session } = await opensScripted("queries");
  await types(page, "ask");
  const answers = () => session.typed.toString("latin1").split("\x1b[?").length - 1;
  for (let late = Date.now() + PATIENCE; answers() < 1 && Date.now() < late; ) {
    await page.waitForTimeout(20);
  }
  assert.equal(answers(), 1);
  // The acknowledgement makes a replay of what comes again.
  for (let late = Date.now() + PATIENCE; session.driverAcked < session.output.length; ) {
    assert.ok(Date.now() < late, "never acknowledged");
    await page.waitForTimeout(20);
  }
  await page.reload();
  await attached(page);
  await shows(page, "ask");
  await page.keyboard.press("Enter");
  await types(page, "add 50 5");
  await shows(page, "55");
  assert.equal(answers(), 1);
  await page.context().close();
});

test("search, appearance and a small screen", { skip: scriptedOnly, timeout: 60_000 }, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "looks");
  await types(page, "count 200");
  await shows(page, "line 200 of 200");
  await page.keyboard.press("Control+Shift+F");
  await page.getByLabel("Search the terminal").fill("line 150 ");
  await shows(page, "line 150 of 200");
  await page.getByText("1 of 1", { exact: true }).waitFor();
  await page.getByLabel("Search the terminal").fill("19");
  await page.getByText("2 of 12", { exact: true }).waitFor();
  await page.keyboard.press("Shift+Enter");
  await page.getByText("3 of 12", { exact: true }).waitFor();
  const found = page.locator(".xterm-rows span", { hasText: /^1$/ });
  const grounds = await found.evaluateAll((all) =>
    all.map((one) => getComputedStyle(one).backgroundColor),
  );
  // The one that the person has got to, and all others.
  assert.equal(grounds.filter((ground) => ground === "rgb(255, 183, 77)").length, 1, `${grounds}`);
  assert.ok(grounds.filter((ground) => ground === "rgb(92, 77, 22)").length > 5, `${grounds}`);
  await pictured(page, "40-search");
  await page.getByLabel("Search the terminal").fill("no such thing");
  await page.getByText("Not found").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Appearance" }).click();
  await page.getByLabel("Theme").selectOption("light");
  await page.getByLabel("Larger font").click();
  await page.getByLabel("Larger font").click();
  await pictured(page, "41-light");
  await page.getByLabel("Theme").selectOption("contrast");
  await page.keyboard.press("Escape");
  await page.locator(".xterm-screen").click();
  await types(page, "colours");
  await shows(page, "true colour");
  await pictured(page, "42-contrast");
  await page.setViewportSize({ width: 390, height: 720 });
  await page.getByRole("button", { name: "Appearance" }).click();
  await page.getByLabel("Theme").selectOption("dark");
  await pictured(page, "43-small-menu");
  await page.keyboard.press("Escape");
  await page.locator(".xterm-screen").click();
  await types(page, "add 4 5");
  await shows(page, "9");
  await pictured(page, "44-small");
  await page.getByRole("button", { name: "‹ Sessions" }).click();
  await page.locator(".session").first().waitFor();
  await pictured(page, "45-small-sessions");
  await page.context().close();
});

test("the terminal draws with WebGL where there is one", {
  skip: scriptedOnly,
  timeout: 60_000,
}, async () => {
  const context = await browser.newContext({
    viewport: { width: 1100, height: 700 },
    colorScheme: "dark",
  });
  const page = await watched(context, "auto");
  await signsIn(page);
  await opensNew(page, "webgl");
  await types(page, "colours");
  const has = await page.evaluate(
    () => document.createElement("canvas").getContext("webgl2") !== null,
  );
  // With it the text is drawn on a canvas, and else there are elements to read it from.
  if (has) await page.locator(".xterm-screen canvas").first().waitFor();
  else await shows(page, "true colour");
  assert.equal(await page.locator(".xterm-rows").count(), has ? 0 : 1);
  await pictured(page, "50-webgl");
  await context.close();
});

test("nothing strayed: no error, no breach of the policy, no other host, no breach of the protocol", {
  skip: absent,
}, () => {
  assert.deepEqual([...strays], []);
  if (scripted !== undefined) assert.deepEqual(scripted.violations, []);
});
