// The page of somebody who is not signed in.

import { Problem } from "../client/index.ts";
import { button, h } from "./dom.ts";
import type { SignIn } from "./sign_in.ts";

/** Shows the ways to sign in. `trouble` says why the last one failed. */
export function signInView(host: HTMLElement, signIn: SignIn, trouble?: string): () => void {
  const problem = h("p", {
    className: "problem",
    id: "sign-in-problem",
    attributes: { role: "alert" },
    hidden: trouble === undefined,
    textContent: trouble ?? "",
  });
  const say = (text: string | undefined) => {
    problem.hidden = text === undefined;
    problem.textContent = text ?? "";
  };

  const code = h("input", {
    id: "code",
    type: "text",
    autocomplete: "one-time-code",
    spellcheck: false,
    required: true,
  });
  const withCode = h(
    "form",
    {
      className: "card",
      on: {
        submit: (event: SubmitEvent) => {
          event.preventDefault();
          say(undefined);
          const text = code.value.trim();
          // The whole printed address serves as well as the code alone.
          signIn.withCode(/[#&]code=([^&]+)/.exec(text)?.[1] ?? text).catch((error: unknown) => {
            say(codeTrouble(error));
          });
        },
      },
    },
    h("h2", {}, "One-time code"),
    h(
      "p",
      { className: "hint" },
      "The gateway printed an address when it started, and prints another when you press Enter there. Open it, or paste it or its code here.",
    ),
    h("label", { htmlFor: "code" }, "Code or address"),
    code,
    h(
      "div",
      { className: "row end" },
      h("button", { type: "submit", className: "primary" }, "Sign in"),
    ),
  );

  const token = h("textarea", {
    id: "token",
    rows: 3,
    autocomplete: "off",
    spellcheck: false,
    required: true,
  });
  const withToken = h(
    "form",
    {
      className: "card",
      on: {
        submit: (event: SubmitEvent) => {
          event.preventDefault();
          say(signIn.withToken(token.value));
        },
      },
    },
    h("h2", {}, "Token"),
    h(
      "p",
      { className: "hint" },
      "A JSON Web Token of an issuer that this gateway trusts. It is kept in this tab only.",
    ),
    h("label", { htmlFor: "token" }, "Token"),
    token,
    h("div", { className: "row end" }, h("button", { type: "submit" }, "Use this token")),
  );

  host.append(
    h(
      "main",
      { className: "narrow" },
      h(
        "div",
        { className: "brand" },
        h("span", { className: "mark", attributes: { "aria-hidden": "true" } }, "›_"),
        h("h1", {}, "Shellgate"),
      ),
      h(
        "p",
        { className: "lead" },
        "A shell of your own, in a sandbox. Sign in to see your sessions.",
      ),
      problem,
      withCode,
      withToken,
    ),
  );
  code.focus();
  return () => {};
}

/** Why a code did not sign anybody in. */
export function codeTrouble(error: unknown): string {
  if (!(error instanceof Problem)) return "Signing in did not work.";
  if (error.status === 404) return "This gateway does not sign in with codes. Use a token.";
  if (error.status === 0) return error.detail;
  return "This code does not work (any more): each works once. Enter where the gateway runs prints a new one; or use a token.";
}

/** A page while a code is being traded for a token. */
export function signingInView(host: HTMLElement, cancel: () => void): () => void {
  host.append(
    h(
      "main",
      { className: "narrow", attributes: { "aria-busy": "true" } },
      h("p", { className: "lead", attributes: { role: "status" } }, "Signing in…"),
      button("Cancel", cancel),
    ),
  );
  return () => {};
}
