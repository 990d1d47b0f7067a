// Why a WebSocket closes, and what its client does then: part of the contract. Knows no socket.

/** The close codes of the client leg (RFC 6455, section 7.4; 4000 and up are Shellgate's). */
export const CloseCode = {
  Normal: 1000,
  GoingAway: 1001,
  Protocol: 1002,
  NotUtf8: 1007,
  TooBig: 1009,
  Restart: 1012,
  Overloaded: 1013,
  BadRequest: 4400,
  Unauthenticated: 4401,
  Forbidden: 4403,
  NotFound: 4404,
  Idle: 4408,
  AnotherDriver: 4409,
  Ended: 4410,
  Quota: 4429,
  Internal: 4500,
  LinkLost: 4502,
  Timeout: 4504,
} as const;

/**
 * What a client does after a close.
 * - `stop`: nothing; say why.
 * - `return`: come back after a moment's jitter, the gateway leaves in good order.
 * - `retry`: come back at once; if that fails, back off.
 * - `back_off`: come back after a pause.
 * - `renew`: get a newer token once; stop when it happens again without `attached` between.
 */
export type Then = "stop" | "return" | "retry" | "back_off" | "renew";

const THEN = new Map<number, Then>([
  [CloseCode.Normal, "stop"],
  [CloseCode.GoingAway, "return"],
  [CloseCode.Protocol, "stop"],
  [CloseCode.NotUtf8, "stop"],
  [CloseCode.TooBig, "stop"],
  [CloseCode.Restart, "return"],
  [CloseCode.Overloaded, "back_off"],
  [CloseCode.BadRequest, "stop"],
  [CloseCode.Unauthenticated, "renew"],
  [CloseCode.Forbidden, "stop"],
  [CloseCode.NotFound, "stop"],
  [CloseCode.Idle, "stop"],
  [CloseCode.AnotherDriver, "stop"],
  [CloseCode.Ended, "stop"],
  [CloseCode.Quota, "stop"],
  [CloseCode.Internal, "retry"],
  [CloseCode.LinkLost, "retry"],
  [CloseCode.Timeout, "retry"],
]);

/** What a client does after a close with this number. A browser says 1006 where there was none;
 * that, and a number this version does not know, are worth a retry. */
export function after(code: number | undefined): Then {
  return (code === undefined ? undefined : THEN.get(code)) ?? "retry";
}
