import * as z from "zod";
import { codeOf, Failure, type RawAddress } from "../../protocol/index.ts";
import type { SecretStorage } from "./secret-storage.ts";
import type { KnownWallet } from "./ton-connect/known-wallets.ts";
import type { SessionEntries } from "./ton-connect/session.ts";
import { agreedSessionIn } from "./ton-connect/session-keys.ts";

/** A connection as it is kept over a restart: one text, and a secret. */
export interface KeptWallet {
  readonly address: RawAddress;
  readonly appName: string;
  readonly walletName: string;
  readonly networkId: number;
  readonly maxMessages: number;
  readonly entries: SessionEntries;
}

export interface WalletKeeper {
  /**
   * Undefined when there is none.
   *
   * @throws {Failure} `storage_failed` when it cannot be reached now; `wallet_session` when it is damaged, or over a bridge
   *   that is no longer known: then it is forgotten; `wallet_network` when it is for another network.
   */
  load(): Promise<KeptWallet | undefined>;
  /** False when it could not be written. */
  save(wallet: KeptWallet): Promise<boolean>;
  forget(): Promise<void>;
}

export interface WalletKeeperOptions {
  readonly secrets: SecretStorage;
  readonly networkId: number;
  readonly wallets: readonly KnownWallet[];
}

/** One at a time, in the order of the calls, so that an older text never lands last. */
export function createWalletKeeper(options: WalletKeeperOptions): WalletKeeper {
  const { secrets } = options;
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <Result>(work: () => Promise<Result>): Promise<Result> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
  return {
    load: () =>
      inTurn(async () => {
        const text = await secrets.read();
        try {
          return text === undefined ? undefined : usable(text, options);
        } catch (error) {
          if (codeOf(error) === "wallet_session") await succeeds(secrets.remove());
          throw error;
        }
      }),
    save: (wallet) => inTurn(() => succeeds(secrets.write(JSON.stringify({ v: 1, ...wallet })))),
    forget: () =>
      inTurn(async () => {
        await succeeds(secrets.remove());
      }),
  };
}

const keptSchema = z.strictObject({
  v: z.literal(1),
  address: z.string().regex(/^0:[0-9a-f]{64}$/),
  appName: z.string().max(64),
  walletName: z.string().max(64),
  networkId: z.int(),
  maxMessages: z.int().min(1).max(255),
  entries: z.record(z.string(), z.string()),
});

function usable(text: string, { networkId, wallets }: WalletKeeperOptions): KeptWallet {
  const { v: _, ...kept } = parse(text);
  const agreed = agreedSessionIn(kept.entries);
  if (agreed?.address !== kept.address) throw new Failure("wallet_session", "the kept connection is damaged");
  if (kept.networkId !== networkId)
    throw new Failure("wallet_network", `the kept connection is for network ${kept.networkId}`);
  if (!wallets.some(({ appName, bridgeUrl }) => appName === kept.appName || bridgeUrl === agreed.bridgeUrl))
    throw new Failure("wallet_session", "the kept connection is over a bridge that is no longer known");
  return kept;
}

function parse(text: string): z.output<typeof keptSchema> {
  try {
    return keptSchema.parse(JSON.parse(text));
  } catch {
    // Without its cause: what a parser quotes of the text may be the session's key.
    throw new Failure("wallet_session", "the kept connection is damaged");
  }
}

async function succeeds(work: Promise<void>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch {
    return false; // what is kept is a comfort: the owner connects again after a restart
  }
}
