import {
  Failure,
  redeemMessage,
  type FailureCode,
  type GatewayToWorker,
  type MessageOf,
  type Nanoton,
  type Sign,
  type WorkerToGateway,
} from "../../protocol/index.ts";

/** What the gateway kept for a redeem that it pays for, and the total of the voucher it brings to the chain. */
export interface Redeeming {
  readonly total: Nanoton;
  readonly deduction: Nanoton;
}

export interface RedeemTerms {
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  readonly networkId: number;
  readonly owner: string;
  /** Of the newest voucher that is held. */
  readonly total: Nanoton;
  /** The most the gateway may keep. */
  readonly maxDeduction: Nanoton;
}

/** The redeems that one gateway was asked to pay for; one at a time, and gone with the link: the gateway forgets them. */
export interface RedeemRequests {
  /**
   * Resolves when the gateway does it, which waits for new earnings that bear the deduction.
   *
   * @throws {Failure} `gateway_unreachable` without a link, or when it was lost; `cancelled` when another request took
   *   its place; the gateway's code when it refused.
   */
  ask(terms: RedeemTerms): Promise<Redeeming>;
  /** @returns what was kept, at most what was allowed; undefined when nobody asked for it. */
  done(message: MessageOf<GatewayToWorker, "redeeming">): Nanoton | undefined;
  /** @returns whether it was one of these that was refused. */
  refused(id: string, code: FailureCode): boolean;
  lost(): void;
}

export function createRedeemRequests(options: {
  readonly sign: Sign;
  readonly send: (message: WorkerToGateway) => boolean;
}): RedeemRequests {
  let waiting: ({ readonly id: string; readonly maxDeduction: Nanoton } & PromiseWithResolvers<Redeeming>) | undefined;
  let lastId = 0;
  const fail = (code: FailureCode, message: string): void => {
    waiting?.reject(new Failure(code, message));
    waiting = undefined;
  };
  return {
    ask(terms) {
      fail("cancelled", "another redeem was asked for");
      const id = `redeem-${++lastId}`;
      const { total, maxDeduction } = terms;
      const signature = options.sign(redeemMessage(terms));
      const settlers = Promise.withResolvers<Redeeming>();
      waiting = { id, maxDeduction, ...settlers };
      if (!options.send({ type: "redeem_request", id, total, maxDeduction, signature }))
        fail("gateway_unreachable", "there is no link to the gateway");
      return settlers.promise;
    },
    done({ id, total, deduction }) {
      if (waiting?.id !== id) return undefined;
      const { maxDeduction, resolve } = waiting;
      waiting = undefined;
      resolve({ total, deduction });
      // What it kept beyond what it may is not given: the vouchers stay behind the own count by it.
      return deduction < maxDeduction ? deduction : maxDeduction;
    },
    refused(id, code) {
      if (waiting?.id !== id) return false;
      fail(code, "the gateway does not pay for this redeem");
      return true;
    },
    lost: () => fail("gateway_unreachable", "the link was lost; a redeem that was asked for is forgotten"),
  };
}
