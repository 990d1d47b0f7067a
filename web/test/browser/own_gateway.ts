// A real gateway of the story's own, so that it can be killed and started again. Knows no page.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** A template whose program speaks by lines: it says of each in JSON that it has got it. */
const AGENT = `while read -r line; do printf '{"got":"%s"}\\n' "$line"; done`;

/** How long a gateway may take to print its address, in milliseconds. */
const START_MILLIS = 30_000;

/** How long a gateway may take to end its sandboxes and itself, in milliseconds. */
const STOP_MILLIS = 30_000;

/** A gateway as `dev` runs it, with a state of its own. */
export class OwnGateway {
  private readonly state = mkdtempSync(path.join(tmpdir(), "shellgate-story-"));
  private child: ChildProcess | undefined;
  private listen = "127.0.0.1:0";

  constructor(private readonly program: string) {}

  /** Starts it, where it was listening before if it was. Returns the address that it prints, its
   * one-time code included. */
  async start(): Promise<string> {
    const child = spawn(this.program, ["dev", "--state", path.join(this.state, "state")], {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        SHELLGATE_GATEWAY__LISTEN__CLIENT: this.listen,
        SHELLGATE_GATEWAY__LISTEN__ADMIN: "127.0.0.1:0",
        SHELLGATE_GATEWAY__TEMPLATES__LINES__MODE: "lines",
        SHELLGATE_GATEWAY__TEMPLATES__LINES__COMMAND: JSON.stringify(["bash", "-c", AGENT]),
      },
    });
    this.child = child;
    const address = await new Promise<string>((found, failed) => {
      let said = "";
      const fail = () => failed(new Error(`the gateway printed no address:\n${said}`));
      const late = setTimeout(fail, START_MILLIS);
      child.once("error", failed);
      child.once("exit", fail);
      const hear = (words: Buffer) => {
        if (said.length < 65_536) said += String(words);
        const [address] = /http:\/\/[^ ]*#[^\s]*/.exec(said) ?? [];
        if (address === undefined) return;
        clearTimeout(late);
        child.off("exit", fail);
        found(address);
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
    });
    this.listen = new URL(address).host;
    return address;
  }

  /** Kills it, as a machine that runs out of memory does: it cannot say a word. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  /** Stops it in good order, its sandboxes too, and removes its state. */
  async stop(): Promise<void> {
    await this.end("SIGINT");
    rmSync(this.state, { recursive: true, force: true });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_MILLIS);
    child.kill(signal);
    await ended;
    clearTimeout(late);
  }
}
