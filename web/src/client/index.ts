// @shellgate/client: attach to a session, come back after every break, lose nothing and repeat
// nothing. In the order in which a connection meets them:

export {
  Api,
  type ApiSettings,
  Problem,
  type Session,
  type SessionState,
  type Wish,
} from "./api.ts";
export { Attachment } from "./attachment.ts";
export { CloseCode } from "./close.ts";
export {
  Connection,
  type Said,
  type Socket,
  SUBPROTOCOL,
  TICKET_PREFIX,
  type World,
} from "./connection.ts";
export type { Action, Event, Lost } from "./event.ts";
export {
  type ExitStatus,
  type GapReason,
  isSessionId,
  legalSize,
  type Mode,
  type Notice,
  type Phase,
  type Role,
  type Signal,
  type Size,
  type Starting,
} from "./messages.ts";
export type { Draw, Mark } from "./output.ts";
export { randomId } from "./random.ts";
export type { Settings } from "./settings.ts";
export type { Status } from "./status.ts";
export type { Stopped, TicketFailure } from "./stopped.ts";
