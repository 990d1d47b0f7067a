// What a person asked for and the gateway has not answered yet: repeated until it has, across
// connections, and applied once because the id stays. Pure; time is an argument, in milliseconds.

import { REQUEST_REPEAT_MILLIS, REQUESTS_MAX } from "./limits.ts";
import type { FromClient } from "./messages.ts";

/** The unanswered requests, in their order. */
export class Requests {
  private readonly waiting = new Map<number, { message: FromClient; repeatAt: number }>();
  private nextId = 1;

  /** Adds one that is due now; a person who presses a button too often gets no more. */
  add(make: (id: number) => FromClient, now: number): void {
    if (this.waiting.size >= REQUESTS_MAX) return;
    const id = this.nextId++;
    this.waiting.set(id, { message: make(id), repeatAt: now });
  }

  /** The gateway has answered one: which it was, where it was not answered before. */
  answered(id: number): FromClient | undefined {
    const request = this.waiting.get(id);
    this.waiting.delete(id);
    return request?.message;
  }

  clear(): void {
    this.waiting.clear();
  }

  /** A new connection: all are due. */
  again(now: number): void {
    for (const request of this.waiting.values()) request.repeatAt = now;
  }

  /** What is due now; it counts as sent. */
  due(now: number): FromClient[] {
    const due = [...this.waiting.values()].filter(({ repeatAt }) => now >= repeatAt);
    for (const request of due) request.repeatAt = now + REQUEST_REPEAT_MILLIS;
    return due.map(({ message }) => message);
  }

  /** When the next ones are due. */
  get dueAt(): number[] {
    return [...this.waiting.values()].map(({ repeatAt }) => repeatAt);
  }
}
