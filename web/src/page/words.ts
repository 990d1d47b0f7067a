// What the page says, in words: states, phases, ends, refusals. Knows no element.

import type { ExitStatus, Phase, Session, Stopped } from "../client/index.ts";

export const PHASES: Record<Phase, string> = {
  queued: "Waiting for a free place",
  volume: "Preparing your files",
  secrets: "Fetching your secrets",
  task: "Starting the sandbox",
  dialling: "Waiting for the sandbox to call",
  reconnecting: "Waiting for the sandbox to call again",
};

export const STATES: Record<Session["state"], string> = {
  starting: "starting",
  live: "running",
  severed: "out of reach",
  stopping: "stopping",
  ended: "ended",
};

const REASONS: Record<ExitStatus["reason"], string> = {
  exited: "The program ended.",
  stopped: "The session was stopped.",
  idle: "The session was stopped because nobody worked in it.",
  lifetime: "The session reached the longest life that it may have.",
  start_failed: "The session could not be started.",
  lost: "The session's sandbox is gone, and nobody knows why.",
  compromised: "The session was stopped: somebody else used its sandbox's secret.",
  shutdown: "The gateway was shut down, and its sessions with it.",
};

/** How a program ended, in a sentence or two. */
export function exitWords(exit: ExitStatus): string {
  const words = [REASONS[exit.reason]];
  if (exit.signal !== undefined) words.push(`Ended by signal ${exit.signal}.`);
  else if (exit.code !== undefined) words.push(`Exit code ${exit.code}.`);
  if (exit.detail !== undefined) words.push(exit.detail);
  return words.join(" ");
}

/** A heading and a sentence for an attachment that stopped. */
export function stoppedWords(stopped: Stopped): { heading: string; text: string } {
  switch (stopped.why) {
    case "left":
      return { heading: "Disconnected", text: "You left this session. It goes on without you." };
    case "ended":
      return { heading: "This session has ended", text: "Nothing runs in it any more." };
    case "idle":
      return {
        heading: "Stopped as idle",
        text: "Nobody worked in this session for a while, so it was stopped.",
      };
    case "another_driver":
      return {
        heading: "This session is open elsewhere",
        text: "Another window types in it. You can watch, or take it over: then that window stops.",
      };
    case "unauthenticated":
      return { heading: "Signed out", text: "Your sign-in has run out. The session goes on." };
    case "forbidden":
      return { heading: "Not allowed", text: "Your sign-in does not allow this." };
    case "not_found":
      return {
        heading: "No such session",
        text: "It does not exist, or it belongs to somebody else.",
      };
    case "quota":
      return busyWords(stopped.code);
    case "protocol":
      return {
        heading: "Something went wrong",
        text: "This page and the gateway did not understand each other. The session goes on.",
      };
  }
}

/** A heading and a sentence for a refusal, by its code for machines; `general` where they would do
 * for many. */
export function busyWords(code: string | undefined): {
  heading: string;
  text: string;
  general?: true;
} {
  switch (code) {
    case "too_many_sessions":
      return {
        heading: "You have as many sessions as you may",
        text: "Stop one of them, then start another.",
      };
    case "start_rate":
      return {
        heading: "A little too fast",
        text: "You have started several sessions just now. Wait a moment, then try again.",
      };
    case "too_many_attachments":
      return {
        heading: "Too many windows",
        text: "This session is open in as many windows as it may be. Close one of them first.",
      };
    case "too_many_streams":
      return {
        heading: "Too many windows",
        text: "You follow as many sessions at a time as you may. Close a window first.",
      };
    case "session_stopping":
      return {
        heading: "Not quite gone yet",
        text: "A session of this name is being stopped. In a moment the name is free.",
      };
    case "session_busy":
      return {
        heading: "The session is busy",
        text: "It did not hear this in time. Try again in a moment.",
      };
    case "going_away":
    case "store_unavailable":
    case "keys_unavailable":
    case "internal":
      return {
        heading: "The gateway is not ready",
        text: "It is restarting, or something that it needs does not answer.",
      };
    default:
      return {
        heading: "No room right now",
        text: "The gateway is at its limit and did not start or attach anything.",
        general: true,
      };
  }
}

/** `3 s`, `4 min`, `2 h`, `5 days`. */
export function span(millis: number): string {
  const seconds = Math.max(0, Math.round(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

/** `812 bytes`, `1.2 MiB`. */
export function bytes(count: number): string {
  if (count < 1024) return `${count} byte${count === 1 ? "" : "s"}`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

/** What a session is called: its name, or the end of its id. */
export function sessionName(session: Pick<Session, "id" | "name">): string {
  return session.name ?? `…${session.id.slice(-8)}`;
}
