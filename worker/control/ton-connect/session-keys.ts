import * as z from "zod";
import type { RawAddress } from "../../../protocol/index.ts";
import type { SessionEntries } from "./session.ts";

/** What TON Connect's SDK (3.4.1) keeps of a session, as far as others need it. */
export interface SessionKeys {
  /** 64 hex digits: the client id. */
  readonly publicKey: string;
  readonly secretKey: string;
  /** The wallet's key, 64 hex digits; undefined until it has answered. */
  readonly wallet: string | undefined;
}

/** A session that was agreed with a wallet and can be gone on with. */
export interface AgreedSession {
  readonly address: RawAddress;
  readonly bridgeUrl: string;
}

const CONNECTION = "ton-connect-storage_bridge-connection";

const hex32 = z.string().regex(/^[0-9a-f]{64}$/);
const keyPair = z.object({ publicKey: hex32, secretKey: hex32 });
const addressItem = z.object({ name: z.literal("ton_addr"), address: z.string().regex(/^0:[0-9a-fA-F]{64}$/) });

const pendingSchema = z.object({ type: z.literal("http"), sessionCrypto: keyPair });
const agreedSchema = z.object({
  type: z.literal("http"),
  session: z.object({ sessionKeyPair: keyPair, walletPublicKey: hex32, bridgeUrl: z.url() }),
  lastWalletEventId: z.int(),
  nextRpcRequestId: z.int(),
  connectEvent: z.object({ payload: z.object({ items: z.tuple([addressItem]) }) }),
});

/** The keys of the session with this client id, if it is the one that is kept. */
export function sessionKeysIn(entries: SessionEntries, clientId: string): SessionKeys | undefined {
  const connection = connectionIn(entries);
  const pending = pendingSchema.safeParse(connection).data?.sessionCrypto;
  const agreed = agreedSchema.safeParse(connection).data?.session;
  const keys = agreed?.sessionKeyPair ?? pending;
  return keys?.publicKey === clientId ? { ...keys, wallet: agreed?.walletPublicKey } : undefined;
}

/** Undefined for what is damaged, or was never agreed to: then there is nothing to go on with. */
export function agreedSessionIn(entries: SessionEntries): AgreedSession | undefined {
  const { data } = agreedSchema.safeParse(connectionIn(entries));
  if (data === undefined) return undefined;
  const [{ address }] = data.connectEvent.payload.items;
  return { address: address.toLowerCase(), bridgeUrl: data.session.bridgeUrl };
}

function connectionIn(entries: SessionEntries): unknown {
  try {
    return JSON.parse(entries[CONNECTION] ?? "null");
  } catch {
    return undefined;
  }
}
