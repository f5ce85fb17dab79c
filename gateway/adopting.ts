import {
  equalBytes,
  Failure,
  type CountersignedVoucher,
  type Nanoton,
  type RawAddress,
  type SignedVoucher,
} from "../protocol/index.ts";
import { agreementIn, keptOnTop, ownVoucher } from "./adoption.ts";
import { emptyBook, ownerBook } from "./books.ts";
import type { Channels } from "./channels.ts";
import type { Charging } from "./charging.ts";
import type { Clock } from "./clock.ts";
import type { AdoptPayoutEntry } from "./entries.ts";
import type { Journal } from "./journal.ts";
import { importPublicKey, isSignedBy, type PublicKey, type Signer } from "./signatures.ts";

export interface AdoptingOptions {
  readonly journal: Journal;
  readonly charging: Charging;
  readonly channels: Channels;
  readonly signer: Signer;
  readonly networkId: number;
  readonly clock: Clock;
  /** For the operator: that something was adopted means that something was lost. */
  readonly log: (line: string) => void;
}

/** Takes up what peers and the chain know of this gateway's promises and the ledger does not. */
export class Adopting {
  readonly #options: AdoptingOptions;
  readonly #key: PublicKey;
  /** An owner's promise where this ledger and a lost one may have parted: when it was opened, or at what was adopted. */
  readonly #bases: Map<RawAddress, Nanoton>;
  /** Adoptions that are being written: until then no lower voucher may be told. */
  readonly #underWay = new Map<RawAddress, Promise<void>>();

  constructor(options: AdoptingOptions) {
    const key = importPublicKey(options.signer.publicKey);
    if (key === undefined) throw new RangeError("the gateway's own key is none");
    this.#options = options;
    this.#key = key;
    this.#bases = new Map([...options.journal.ledger.owners].map(([owner, { total }]) => [owner, total]));
  }

  /**
   * A worker shows the newest voucher it has of its owner's channel. Resolves when what is new in it is written.
   *
   * @throws {Failure} `bad_login` for a voucher that is none of this gateway's; `internal` while nothing can be written.
   */
  async ofWorker(owner: RawAddress, shown: SignedVoucher): Promise<void> {
    if (owner === "") throw new Failure("bad_login", "shows a voucher of no owner");
    const { channels, networkId } = this.#options;
    const expected = { type: "payout", key: this.#key, networkId, channel: channels.workerChannel(owner) } as const;
    const { total, receipt } = ownVoucher(shown, expected);
    const kept = keptOnTop(ownerBook(this.#options.journal.ledger, owner), this.#baseOf(owner), { total, receipt });
    if (kept !== undefined)
      this.#adopt({ owner, total, kept, voucher: { chain: receipt, signature: shown.signature } });
    await this.#underWay.get(owner);
  }

  /**
   * The chain has paid an owner so much: this gateway signed for it. Resolves when it is written.
   *
   * @throws {Failure} `internal` while nothing can be written.
   */
  async ofChain(owner: RawAddress, paid: Nanoton): Promise<void> {
    const { total } = ownerBook(this.#options.journal.ledger, owner);
    if (paid > total) this.#adopt({ owner, total: paid, kept: total - this.#baseOf(owner), voucher: null });
    await this.#underWay.get(owner);
  }

  /**
   * A client shows what it countersigned last.
   *
   * @throws {Failure} `bad_login` for what this gateway or the channel's key never signed; `internal` while the channel
   *   is not seen, or nothing can be written.
   */
  ofClient(channel: RawAddress, key: PublicKey, shown: CountersignedVoucher): void {
    const { channels, networkId, journal, charging } = this.#options;
    const { boc, signature, gatewaySignature } = shown;
    const expected = { type: "charge", key: this.#key, networkId, channel } as const;
    const { total, receipt } = ownVoucher({ boc, signature: gatewaySignature }, expected);
    const view = channels.clientChannel(channel);
    if (view === undefined) throw new Failure("internal", "the channel is not seen yet");
    const isHolder = equalBytes(view.paymentKey, key.bytes);
    if (!isHolder || !isSignedBy(key, charging.hashOf(channel, { total, chain: receipt }), signature))
      throw new Failure("bad_login", "shows a countersignature that is not the channel's");
    const agreement = agreementIn(
      journal.ledger.clients.get(channel) ?? emptyBook(),
      { total, receipt },
      journal.openedRows,
    );
    if (agreement === undefined) return;
    this.#refuseInTrouble();
    const { through } = agreement;
    if (agreement.type === "known") return charging.agreed(channel, { total, through, signature });
    this.#options.log(`adopted what the client of ${channel} agreed to: ${total} nanoton`);
    charging.adopted({ channel, total, chain: receipt, signature, gatewaySignature, through });
  }

  #baseOf(owner: RawAddress): Nanoton {
    return this.#bases.get(owner) ?? 0n;
  }

  #adopt(what: Omit<AdoptPayoutEntry, "type" | "at">): void {
    const { journal, clock, log } = this.#options;
    const { owner, total } = what;
    this.#refuseInTrouble();
    const written = new Promise<void>((resolve) => {
      journal.append([{ type: "adopt_payout", at: clock.unixMs(), ...what }], resolve);
    });
    this.#bases.set(owner, total);
    const done = written.then(() => {
      if (this.#underWay.get(owner) === done) this.#underWay.delete(owner);
    });
    this.#underWay.set(owner, done);
    log(`adopted what ${owner} was promised: ${total} nanoton`);
  }

  #refuseInTrouble(): void {
    if (this.#options.journal.trouble !== undefined) throw new Failure("internal", "the ledger cannot be written");
  }
}
