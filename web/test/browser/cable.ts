// A cable between the browser and a gateway that can be cut: at once, or in the middle of a
// stream. It speaks to the gateway under the gateway's own address, as that checks Host and Origin.

import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP relay on a port of its own. */
export class Cable {
  private readonly ends = new Set<Socket>();
  private cutAfter: number | undefined;
  private carried = 0;
  private readonly server: Server;

  private constructor(private readonly gateway: URL) {
    this.server = createServer((browser) => this.join(browser));
  }

  static async to(gateway: string): Promise<Cable> {
    const cable = new Cable(new URL(gateway));
    await new Promise<void>((resolve) => cable.server.listen(0, "127.0.0.1", resolve));
    return cable;
  }

  /** The gateway's address at this end. */
  get base(): string {
    return `http://${this.host}`;
  }

  private get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Cuts everything that is open now. */
  cut(): void {
    for (const end of this.ends) end.destroy();
  }

  /** Cuts once so many more bytes have come from the gateway. */
  cutIn(bytes: number): void {
    this.cutAfter = this.carried + bytes;
  }

  /** Whether the cut that was ordered has happened. */
  get wasCut(): boolean {
    return this.cutAfter === undefined;
  }

  async pull(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(browser: Socket): void {
    const gateway = connect(Number(this.gateway.port), this.gateway.hostname);
    for (const end of [browser, gateway]) {
      this.ends.add(end);
      end.setNoDelay();
      end.on("error", () => {});
      end.on("close", () => {
        this.ends.delete(end);
        browser.destroy();
        gateway.destroy();
      });
    }
    browser.on("data", (data) => {
      gateway.write(
        Buffer.from(data.toString("latin1").replaceAll(this.host, this.gateway.host), "latin1"),
      );
    });
    gateway.on("data", (data) => {
      this.carried += data.length;
      if (this.cutAfter !== undefined && this.carried >= this.cutAfter) {
        this.cutAfter = undefined;
        this.cut();
      } else browser.write(data);
    });
  }
}
