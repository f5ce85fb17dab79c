import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import type { ClientChannelTerms } from "../../contracts/ClientChannel.ts";
import {
  Failure,
  key32,
  nanoton,
  parseStrict,
  readJson,
  stringify,
  type Nanoton,
  type RawAddress,
} from "../../protocol/index.ts";
import type { SpendingCap } from "../spending.ts";
import type { SentOrder } from "./sent-order.ts";

/** The channel that a data folder pays from, and what is under way to it. */
export interface ChannelRecord {
  readonly networkId: number;
  readonly registry: RawAddress | undefined;
  readonly gatewayUrl: string;
  /** A toncenter v2 API; undefined: the network's own. */
  readonly chainEndpoint: string | undefined;
  readonly terms: ClientChannelTerms;
  /** Follows from the terms; here for those who only pay from it, and need no TON library for that. */
  readonly address: RawAddress;
  readonly cap: SpendingCap;
  /** What the chain had charged when the channel was last opened, with whichever key. */
  readonly chargedBefore: Nanoton;
  readonly sent: SentOrder | undefined;
}

/** Where the record is kept: before a wallet is asked, so that a crash forgets no order. */
export interface ChannelRecords {
  /** @throws {Failure} `storage_failed`. */
  read(): ChannelRecord | undefined;
  /** Returns once it is on the disk. @throws {Failure} `storage_failed`, `disk_full`. */
  write(record: ChannelRecord): void;
}

const FILE = "channel.json";

/** In a client's data folder. */
export function channelRecords(folder: string): ChannelRecords {
  const path = join(folder, FILE);
  return {
    read() {
      const bytes = attempt(() => readOrUndefined(path));
      return bytes === undefined ? undefined : parseRecord(bytes.toString("utf8"));
    },
    write(record) {
      attempt(() => {
        mkdirSync(folder, { recursive: true, mode: 0o700 });
        const file = openSync(`${path}.next`, "w", 0o600);
        try {
          writeSync(file, formatRecord(record));
          fsyncSync(file);
        } finally {
          closeSync(file);
        }
        renameSync(`${path}.next`, path);
      });
    },
  };
}

const address = z.string().regex(/^0:[0-9a-f]{64}$/);
const seconds = z.int().min(0).max(0xffff_ffff);

const recordSchema = z.strictObject({
  v: z.literal("acn1-channel"),
  networkId: z.int(),
  registry: address.nullable(),
  gatewayUrl: z.string(),
  chainEndpoint: z.string().nullable(),
  owner: address,
  gateway: address,
  gatewayKey: key32,
  closeDelaySeconds: seconds,
  address,
  cap: z.strictObject({ perDay: nanoton.nullable(), inAll: nanoton.nullable() }),
  chargedBefore: nanoton,
  sent: z
    .strictObject({
      type: z.enum(["open-channel", "top-up", "set-credit-limit", "start-close", "finish-close", "close-cooperative"]),
      queryId: nanoton,
      amount: nanoton,
      validUntil: seconds,
      afterLt: nanoton,
    })
    .nullable(),
});

function parseRecord(text: string): ChannelRecord {
  const read = parseStrict(recordSchema, readJson(text, "storage_failed"), "storage_failed");
  const { networkId, registry, gatewayUrl, chainEndpoint, address, cap, chargedBefore, sent } = read;
  const { owner, gateway, gatewayKey, closeDelaySeconds } = read;
  return {
    networkId,
    registry: registry ?? undefined,
    gatewayUrl,
    chainEndpoint: chainEndpoint ?? undefined,
    terms: { owner, gateway, gatewayKey, closeDelaySeconds },
    address,
    cap: {
      ...(cap.perDay === null ? {} : { perDay: cap.perDay }),
      ...(cap.inAll === null ? {} : { inAll: cap.inAll }),
    },
    chargedBefore,
    sent: sent ?? undefined,
  };
}

function formatRecord({ terms, cap, registry, chainEndpoint, sent, ...rest }: ChannelRecord): string {
  return `${stringify({
    v: "acn1-channel",
    ...rest,
    registry: registry ?? null,
    chainEndpoint: chainEndpoint ?? null,
    ...terms,
    cap: { perDay: cap.perDay ?? null, inAll: cap.inAll ?? null },
    sent: sent ?? null,
  })}\n`;
}

function readOrUndefined(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function attempt<Result>(act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const isFull = cause instanceof Error && "code" in cause && cause.code === "ENOSPC";
    throw new Failure(isFull ? "disk_full" : "storage_failed", cause instanceof Error ? cause.message : undefined, {
      cause,
    });
  }
}
