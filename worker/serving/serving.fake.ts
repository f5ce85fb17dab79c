import { randomBytes } from "node:crypto";
import { hash, toHex } from "../../protocol/index.ts";
import { systemClock } from "./clock.ts";
import { DEFAULT_DEBT_LIMIT } from "./debt.ts";
import { fakeDisk, type FakeDisk } from "./disk.fake.ts";
import { NO_EARNINGS_BOOK } from "./earnings.ts";
import { fakeEngine, type FakeEngine } from "./engine.fake.ts";
import { putEvidenceByHttp, softwareAttester } from "./evidence.ts";
import { startFakeGateway, type FakeGateway } from "./gateway.fake.ts";
import { createVerifier, identityOf } from "./identity.ts";
import { startServing, type Serving, type ServingOptions } from "./serving.ts";
import { dialWebSocket } from "./socket.ts";
import type { ServingStatus } from "./status.ts";

export const TEST_PRICE = { prompt: 1_000_000_000n, cached: 500_000_000n, completion: 3_000_000_000n };
export const TEST_ROOT = toHex(hash(new Uint8Array([1])));

export interface TestServing {
  readonly serving: Serving;
  readonly engine: FakeEngine;
  readonly disk: FakeDisk;
}

/** Serving of one model by a fake engine, at gateways played by the test. */
export async function serveAt(
  gateways: readonly FakeGateway[],
  overrides: Partial<ServingOptions> & { readonly engine?: FakeEngine; readonly disk?: FakeDisk } = {},
): Promise<TestServing> {
  const { engine = fakeEngine(), disk = fakeDisk(), ...options } = overrides;
  const serving = await startServing({
    identity: identityOf(randomBytes(32)),
    gateways,
    models: [{ id: "scripted", manifestRoot: TEST_ROOT, bytes: 10, price: TEST_PRICE, engine }],
    networkId: -3,
    owner: undefined,
    formerOwners: [],
    channelAt: () => undefined,
    debtLimit: DEFAULT_DEBT_LIMIT,
    earnings: NO_EARNINGS_BOOK,
    attester: softwareAttester,
    release: null,
    clock: systemClock,
    randomBytes,
    random: () => 0,
    dial: dialWebSocket,
    putEvidence: putEvidenceByHttp,
    disk,
    verify: createVerifier(),
    ...options,
  });
  return { serving, engine, disk };
}

/** One gateway, one worker, ended together. */
export async function startPair(
  overrides: Parameters<typeof serveAt>[1] = {},
): Promise<TestServing & { readonly gateway: FakeGateway; readonly stop: () => Promise<void> }> {
  const gateway = await startFakeGateway();
  const started = await serveAt([gateway], overrides);
  const stop = async (): Promise<void> => {
    await started.serving.stop(0);
    await gateway.stop();
  };
  return { gateway, stop, ...started };
}

/** The first status of which something holds, this one or a later one. */
export function statusWhere(serving: Serving, holds: (status: ServingStatus) => boolean): Promise<ServingStatus> {
  return new Promise((resolve) => {
    const look = (status: ServingStatus): void => {
      if (!holds(status)) return;
      stopLooking();
      resolve(status);
    };
    const stopLooking = serving.onStatus(look);
    look(serving.status());
  });
}
