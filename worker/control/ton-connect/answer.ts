import * as z from "zod";
import type { RawAddress } from "../../../protocol/index.ts";

/** What a wallet app says of itself when its owner agrees to connect: read, and not yet believed. */
export interface WalletAnswer {
  readonly address: RawAddress;
  readonly networkId: number;
  /** A bag of cells. */
  readonly stateInit: Uint8Array;
  /** As the app names itself; shown only where a list of wallets does not know it better. */
  readonly appName: string;
  /** Messages it takes in one transaction. */
  readonly maxMessages: number;
  /** Undefined when it would not prove its address. */
  readonly proof: ProofAnswer | undefined;
}

export interface ProofAnswer {
  readonly domain: string;
  /** Unix seconds. */
  readonly timestamp: number;
  readonly payload: string;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** Of a wallet that does not say: what the oldest ones take. */
const MAX_MESSAGES = 4;

const MAX_STATE_INIT_BYTES = 8192;
const MAX_PAYLOAD_CHARACTERS = 128;
const MAX_DOMAIN_CHARACTERS = 253;

const base64 = z.string().regex(/^[A-Za-z0-9+/_-]*={0,2}$/);
const bytes = base64.transform((text) => new Uint8Array(Buffer.from(text, "base64")));

/** Some apps write the hash in capitals. */
const rawAddress = z
  .string()
  .regex(/^0:[0-9a-fA-F]{64}$/)
  .transform((text) => text.toLowerCase());

const int32 = z
  .string()
  .regex(/^-?\d{1,10}$/)
  .transform(Number)
  .pipe(z.int().min(-0x8000_0000).max(0x7fff_ffff));

const accountSchema = z.object({
  address: rawAddress,
  chain: int32,
  walletStateInit: bytes.refine((init) => init.length <= MAX_STATE_INIT_BYTES),
});

const proofSchema = z.object({
  proof: z.object({
    timestamp: z.int().nonnegative(),
    domain: z.object({ value: z.string().max(MAX_DOMAIN_CHARACTERS) }),
    payload: z.string().max(MAX_PAYLOAD_CHARACTERS),
    signature: bytes.refine((signature) => signature.length === 64),
  }),
});

const featureSchema = z.object({ name: z.literal("SendTransaction"), maxMessages: z.int().min(1).max(255) });

const answerSchema = z.object({
  account: accountSchema,
  device: z.object({ appName: z.string().max(64), features: z.array(z.unknown()) }),
  connectItems: z.object({ tonProof: z.unknown() }).optional(),
});

/** What TON Connect's SDK gives of a connected wallet. Undefined when it is not what the protocol says. */
export function parseWalletAnswer(wallet: unknown): WalletAnswer | undefined {
  const { data } = answerSchema.safeParse(wallet);
  if (data === undefined) return undefined;
  const { account, device, connectItems } = data;
  const feature = device.features.map((each) => featureSchema.safeParse(each).data).find((each) => each !== undefined);
  const proof = proofSchema.safeParse(connectItems?.tonProof).data?.proof;
  return {
    address: account.address,
    networkId: account.chain,
    stateInit: account.walletStateInit,
    appName: device.appName,
    maxMessages: feature?.maxMessages ?? MAX_MESSAGES,
    proof: proof === undefined ? undefined : { ...proof, domain: proof.domain.value },
  };
}
