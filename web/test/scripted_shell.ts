// The shell of a scripted session: a few commands whose answers no echo can be taken for. Knows no
// socket.

import type { ExitStatus } from "../src/client/messages.ts";
import type { Session } from "./scripted_session.ts";

/** What a program does. */
export interface Program {
  print: (text: string) => void;
  end: (exit: ExitStatus) => void;
}

/** What stands before what is typed. */
export const PROMPT = "\x1b[1;32mada@sandbox\x1b[0m:\x1b[1;34m~\x1b[0m$ ";

/** A program that speaks by lines: it says of each line in JSON that it has got it. */
export function agentReads(session: Session, typed: string, does: Program): void {
  const [first = "", ...more] = typed.split("\n");
  session.line += first;
  for (const next of more) {
    const [command, code] = session.line.split(" ");
    if (command === "exit") does.end({ reason: "exited", code: Number(code ?? 0) });
    else does.print(`${JSON.stringify({ got: session.line })}\n`);
    session.line = next;
  }
}

/** What is typed reaches the shell. */
export function shellReads(session: Session, typed: string, does: Program): void {
  for (const key of typed) {
    if (key === "\r") {
      does.print("\r\n");
      const { line } = session;
      session.line = "";
      run(line.trim(), does);
      if (session.exit === undefined) does.print(PROMPT);
    } else if (key === "\x7f") {
      if (session.line !== "") does.print("\b \b");
      session.line = session.line.slice(0, -1);
    } else {
      session.line += key;
      does.print(key);
    }
  }
}

function run(line: string, does: Program): void {
  const [command = "", ...words] = line.split(/\s+/);
  if (command === "add") {
    does.print(`${words.map(Number).reduce((a, b) => a + b, 0)}\r\n`);
  } else if (command === "count") {
    const lines: string[] = [];
    for (let n = 1; n <= Number(words[0]); n++) lines.push(`line ${n} of ${words[0]}\r\n`);
    does.print(lines.join(""));
  } else if (command === "ask") {
    // What are you? Where is your cursor? A terminal answers both as if they were typed.
    does.print("\x1b[c\x1b[6n");
  } else if (command === "link") {
    // Its text says something else than where it leads.
    does.print(
      "\x1b]8;;https://elsewhere.example/?from=here\x1b\\the documentation\x1b]8;;\x1b\\\r\n",
    );
  } else if (command === "colours") {
    for (let n = 0; n < 16; n++) does.print(`\x1b[48;5;${n}m  ${n} \x1b[0m`);
    does.print("\r\n\x1b[38;2;255;150;40mtrue colour\x1b[0m \x1b[1mbold\x1b[0m ");
    does.print("\x1b[3mitalic\x1b[0m \x1b[4munderlined\x1b[0m 終 é ✓\r\n");
  } else if (command === "exit") {
    does.print("logout\r\n");
    does.end({ reason: "exited", code: Number(words[0] ?? 0) });
  } else if (command !== "") {
    does.print(`bash: ${command}: command not found\r\n`);
  }
}
