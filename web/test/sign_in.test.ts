// A sign-in is renewed without being asked for, and ends when a person or the gateway says so.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Api } from "../src/client/index.ts";
import { SignIn } from "../src/page/sign_in.ts";

/** A tab's storage. */
function storage(): Storage {
  const kept = new Map<string, string>();
  return {
    length: 0,
    clear: () => kept.clear(),
    key: () => null,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
}

/** A person who is signed in, at a gateway that answers the next requests so. */
async function signedIn(...answers: (() => Response | Promise<Response>)[]): Promise<SignIn> {
  const first = () => Response.json({ token: "first", expires_in: 3600, user: "ada" });
  const queue = [first, ...answers];
  const answer = async () => {
    const next = queue.shift();
    assert.ok(next !== undefined, "one request too many");
    return next();
  };
  const signIn: SignIn = new SignIn(storage(), () => {
    return new Api({ base: "", token: () => signIn.token, fetch: answer });
  });
  await signIn.withCode("code");
  return signIn;
}

test("asked by many at once, a token is renewed once", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const signIn = await signedIn(() => Response.json({ token: "second", expires_in: 3600 }));
  assert.deepEqual(await Promise.all([signIn.renew(), signIn.renew()]), ["second", "second"]);
  assert.equal(signIn.token, "second");
});

test("whoever signs out while the token is renewed stays signed out", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let answer = (_: Response) => {};
  const late = new Promise<Response>((resolve) => {
    answer = resolve;
  });
  const signIn = await signedIn(() => late);
  const renewal = signIn.renew();
  signIn.out();
  answer(Response.json({ token: "second", expires_in: 3600 }));
  assert.equal(await renewal, undefined);
  assert.equal(signIn.token, undefined);
});

test("a gateway that does not answer ends no sign-in, one that says no does", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const signIn = await signedIn(
    () => Promise.reject(new TypeError("nobody there")),
    () => new Response("", { status: 503 }),
    () => new Response("", { status: 401 }),
  );
  await assert.rejects(signIn.renew());
  await assert.rejects(signIn.renew());
  assert.equal(signIn.token, "first");
  assert.equal(await signIn.renew(), undefined);
  assert.equal(signIn.token, undefined);
});

test("who is signed out is told why", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const no = (code: string) => () => Response.json({ code }, { status: 401 });
  for (const [code, words] of [
    ["token_key", /does not accept your sign-in any more/],
    ["token_expired", /has run out/],
  ] as const) {
    const signIn = await signedIn(no(code));
    const told: (string | undefined)[] = [];
    signIn.changed = (_, why) => told.push(why);
    await signIn.renew();
    // The page that asked for it hears of it, too.
    signIn.refused();
    assert.equal(told.length, 1);
    assert.match(told[0] ?? "", words);
  }
});

test("a token that was never good has not run out", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const signIn = await signedIn();
  const claims = Buffer.from('{"sub":"ada"}').toString("base64url");
  assert.equal(signIn.withToken(`e30.${claims}.AAAA`), undefined);
  let told: string | undefined;
  signIn.changed = (_, why) => {
    told = why;
  };
  signIn.refused("token_signature");
  assert.equal(told, "The gateway did not accept this token.");
  signIn.out();
  assert.equal(told, undefined);
});
