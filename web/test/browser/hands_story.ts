// The page under a person's hands: what keys and buttons do at an unexpected moment, played as
// `story.ts` is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { KEYS_QUIET_MILLIS } from "../../src/page/overlay.ts";
import type { ScriptedGateway } from "../scripted_gateway.ts";
import {
  absent,
  attached,
  cable,
  freshWindow,
  opensNew,
  opensScripted,
  PATIENCE,
  pictured,
  played,
  SHELL,
  scripted,
  scriptedOnly,
  setUp,
  shows,
  signsIn,
  strays,
  tearDown,
  types,
} from "./stage.ts";

before(setUp);
after(tearDown);

type Clip = { x: number; y: number; width: number; height: number };

/** What has the focus: a button's words, or else its class. */
async function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const { activeElement: one } = document;
    return one instanceof HTMLButtonElement ? (one.textContent ?? "") : (one?.className ?? "");
  });
}

test("whoever goes on typing when the session is taken over takes nothing back", {
  skip: scriptedOnly,
  timeout: 60_000,
}, async () => {
  const { page, session } = await opensScripted("taken");
  const other = await freshWindow();
  await signsIn(other);
  await other.getByRole("button", { name: "Watch taken" }).click();
  await attached(other, "watching");
  await other.getByRole("button", { name: "Take over" }).click();
  assert.equal(await focused(other), "Cancel");
  await other.locator("dialog").getByRole("button", { name: "Take over" }).click();
  await attached(other);

  await page.getByRole("heading", { name: "This session is open elsewhere" }).waitFor();
  for (const name of ["Paste", "Signal", "Stop"]) {
    assert.equal(await page.getByRole("button", { name, exact: true }).isVisible(), false, name);
  }
  // Tab leads to a button, Space and Enter press one.
  for (const key of ["a", "Tab", "Tab", "Tab", "Space", "b", "Enter", "Space", "Enter"]) {
    await page.keyboard.press(key);
  }
  assert.equal(await page.locator("dialog").count(), 0);
  assert.match(await focused(page), /card/);
  await types(other, "add 40 2");
  await shows(other, "42");
  await attached(other);
  assert.equal(
    [...session.channels].find(({ attach }) => attach.role === "driver")?.attach.takeover,
    true,
  );

  // Who has read it, and has pressed no key for a moment, reaches its buttons by the keyboard.
  const awake = (await page.evaluate(() => performance.now())) + KEYS_QUIET_MILLIS;
  await page.waitForFunction((awake) => performance.now() > awake, awake);
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Sessions");
  for (const one of [page, other]) await one.context().close();
});

/** The brightest pixel of each row of pixels in a part of the page. */
async function brightness(page: Page, clip: Clip): Promise<number[]> {
  const png = (await page.screenshot({ clip })).toString("base64");
  return page.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const { width, height } = image;
    const context = Object.assign(document.createElement("canvas"), { width, height }).getContext(
      "2d",
    );
    context?.drawImage(image, 0, 0);
    const pixels = context?.getImageData(0, 0, width, height).data ?? [];
    return Array.from({ length: height }, (_, y) =>
      Math.max(...pixels.slice(y * width * 4, (y + 1) * width * 4).filter((_, n) => n % 4 === 1)),
    );
  }, png);
}

test("underscores can be seen at the usual sizes, and lines of boxes have no gaps at the usual one", {
  skip: scriptedOnly,
  timeout: 60_000,
}, async () => {
  const { gateway, page, session } = await opensScripted("letters");
  gateway.print(session, "\x1b[?25l\x1b[2J\x1b[H_\u2502\r\n \u2502\r\n \u2502\r\n");
  await shows(page, "_");
  const cell = () =>
    page.evaluate(() => {
      const row = document.querySelector(".xterm-rows > div")?.getBoundingClientRect();
      const letter = document.querySelector(".xterm-rows > div > span")?.getBoundingClientRect();
      if (row === undefined || letter === undefined) return undefined;
      // Both characters are one span.
      return { x: row.x, y: row.y, width: letter.width / 2, height: row.height };
    });
  await page.getByRole("button", { name: "Appearance" }).click();
  for (let size = 14; size <= 20; size++) {
    await page.getByLabel("Font size", { exact: true }).getByText(`${size}`).waitFor();
    await page.evaluate(
      () => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go))),
    );
    const at = await cell();
    assert.ok(at !== undefined);
    assert.ok(Math.max(...(await brightness(page, at))) > 100, `no underscore at ${size} px`);
    const line = { ...at, x: at.x + at.width, height: at.height * 3 };
    if (size === 14) {
      const dark = (await brightness(page, line)).filter((bright) => bright < 60);
      assert.equal(dark.length, 0, "a vertical line is one line");
    }
    await page.getByLabel("Larger font").click();
  }
  await page.context().close();
});

test("why a session was not started stays until the person does something else", {
  skip: scriptedOnly,
}, async () => {
  const gateway = scripted as ScriptedGateway;
  const page = await freshWindow();
  await signsIn(page);
  const detail = "There is no such template.";
  gateway.refusal = { status: 400, code: "no_such_template", detail, retryAfter: 0 };
  await page.getByLabel("Template").fill("nope");
  await page.getByRole("button", { name: "New session" }).click();
  await page.getByText(detail).waitFor();
  gateway.refusal = undefined;
  // The list is fetched again, and drawn.
  gateway.open("newcomer");
  await page.getByRole("button", { name: "Open newcomer" }).waitFor();
  await page.getByText(detail).waitFor();
  await page.getByLabel("Template").fill("default");
  await page.getByText(detail).waitFor({ state: "hidden" });
  await page.context().close();
});

test("who is thrown out of a terminal is told why", { skip: scriptedOnly }, async () => {
  const gateway = scripted as ScriptedGateway;
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "thrown");
  gateway.forgetTokens();
  cable.cut();
  await page.getByText("The gateway does not accept your sign-in any more.").waitFor();
  await page.getByRole("heading", { name: "One-time code" }).waitFor();
  await page.context().close();
});

test("a program begins at the size of the window that it is started from", {
  skip: scriptedOnly,
  timeout: 60_000,
}, async () => {
  for (const [name, width] of [
    ["broad", 1500],
    ["narrow", 390],
  ] as const) {
    const page = await freshWindow({ viewport: { width, height: 720 } });
    await signsIn(page);
    await opensNew(page, name);
    await shows(page, "$");
    await types(page, "add 1 1");
    await shows(page, "2");
    const session = played(name);
    assert.equal(session.sizes.length, 1, `sizes of the ${name} one: ${session.sizes}`);
    const driver = [...session.channels].find(({ attach }) => attach.role === "driver");
    assert.equal(driver?.attach.output, 0);
    await page.context().close();
  }
});

test("who stops a session of theirs may start another at once", {
  skip: scriptedOnly,
}, async () => {
  const gateway = scripted as ScriptedGateway;
  gateway.open("in-the-way");
  const page = await freshWindow();
  await signsIn(page);
  await page.getByRole("button", { name: "Stop in-the-way" }).waitFor();
  const detail = "You have as many sessions as you may: stop one first.";
  gateway.refusal = { status: 429, code: "too_many_sessions", detail, retryAfter: 600 };
  await page.getByLabel("Name").fill("wanted");
  await page.getByRole("button", { name: "New session" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "You have as many sessions as you may" }).waitFor();
  assert.match(await focused(page), /card/);
  assert.equal(await page.getByText(detail).count(), 0, "it is said once");
  const retry = page.getByRole("button", { name: "Try again" });
  assert.ok(await retry.isDisabled());
  await pictured(page, "33-quota");
  await page.getByRole("button", { name: "Stop in-the-way" }).click();
  await page.getByRole("button", { name: "Stop it" }).click();
  await page.getByText("You can try again now.").waitFor();
  gateway.refusal = undefined;
  await retry.click();
  await attached(page);
  await page.context().close();
});

test("what is said in passing leaves the program's terminal as it is", {
  skip: scriptedOnly,
}, async () => {
  const { gateway, page, session } = await opensScripted("passing");
  const before = [...session.sizes];
  gateway.tell(session.id, { type: "notice", kind: "policy", text: "Maintenance at noon." });
  await page.getByText("Maintenance at noon.").waitFor();
  gateway.down = true;
  cable.cut();
  await page.locator('[data-banner="connection"]').waitFor();
  await page.keyboard.press("Control+Shift+F");
  await pictured(page, "34-passing");
  await page.keyboard.press("Escape");
  gateway.down = false;
  await page
    .getByRole("button", { name: "Try now" })
    .click({ timeout: 1000 })
    .catch(() => {});
  await attached(page);
  await types(page, "add 20 1");
  await shows(page, "21");
  assert.deepEqual(session.sizes, before);
  await page.context().close();
});

test("the last screen of a session that has ended is shown to who asks for it", {
  skip: absent,
  timeout: 60_000,
}, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "bygone");
  await shows(page, "$");
  await types(page, SHELL.sum(5000, 55));
  await shows(page, "5055");
  await types(page, "exit 3");
  await page.locator('[data-banner="exit"]').waitFor();
  await page.getByRole("button", { name: "‹ Sessions" }).click();
  const item = page.locator(".session", { hasText: /^bygone/ }).first();
  await item.getByText(/ended \d+ s ago/).waitFor();
  await item.getByRole("button", { name: "Show bygone" }).click();
  await page.locator('[data-banner="exit"]', { hasText: "Exit code 3." }).waitFor();
  await shows(page, "5055");
  assert.equal(await page.locator('[data-banner="gap"]').count(), 0);
  await pictured(page, "35-bygone");
  await page.context().close();
});

test("a key keeps an idle session, and its warning goes; a longest life is not kept so", {
  skip: scriptedOnly,
}, async () => {
  const { gateway, page, session } = await opensScripted("drowsy");
  gateway.tell(session.id, { type: "notice", kind: "lifetime_warning", seconds: 300 });
  gateway.tell(session.id, { type: "notice", kind: "idle_warning", seconds: 56 });
  await page.getByText("Nobody works here: any key keeps this session.").waitFor();
  await page.getByText(/It stops in \d+ s/).waitFor();
  await pictured(page, "36-drowsy");
  await page.keyboard.press("Space");
  await page.locator('[data-banner="idle"]').waitFor({ state: "detached" });
  await page.locator('[data-banner="lifetime"]').waitFor();
  await page.context().close();
});

test("a menu closes on a press anywhere else", { skip: scriptedOnly }, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "menus");
  await page.getByRole("button", { name: "Appearance" }).click();
  const panel = page.locator("#appearance-panel");
  await panel.getByText("Font size").click();
  assert.ok(await panel.isVisible());
  await page.locator(".bar .name").click();
  await panel.waitFor({ state: "hidden" });
  await page.context().close();
});

test("a touch screen has the keys that its keyboard lacks, and room for the terminal", {
  skip: scriptedOnly,
}, async () => {
  const { page, session } = await opensScripted("phone", {
    viewport: { width: 390, height: 720 },
    hasTouch: true,
    isMobile: true,
  });
  await page.getByRole("button", { name: "Up", exact: true }).tap();
  await page.getByRole("button", { name: "Ctrl", exact: true }).tap();
  await page.locator('button[aria-pressed="true"]', { hasText: "Ctrl" }).waitFor();
  await page.keyboard.type("a");
  await page.locator('button[aria-pressed="false"]', { hasText: "Ctrl" }).waitFor();
  await page.keyboard.type("b");
  for (let late = Date.now() + PATIENCE; !session.typed.includes("b"); ) {
    assert.ok(Date.now() < late, "never typed");
    await page.waitForTimeout(20);
  }
  assert.equal(session.typed.toString("latin1"), "\x1b[A\x01b");
  assert.equal(session.sizes.length, 1, `${session.sizes}`);
  await pictured(page, "46-phone");
  const room = await page.evaluate(() => document.querySelector(".stage")?.clientHeight ?? 0);
  assert.ok(room > 600, `${room} of 720 px`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(wide, 390);
  await page.context().close();
});

test("nothing strayed: no error, no breach of the policy, no other host, no breach of the protocol", {
  skip: absent,
}, () => {
  assert.deepEqual([...strays], []);
  if (scripted !== undefined) assert.deepEqual(scripted.violations, []);
});
