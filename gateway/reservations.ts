import type { FailureCode, Nanoton } from "../protocol/index.ts";
import type { Link } from "./link.ts";
import type { OfferTerms } from "./pool.ts";
import type { ClientPayer } from "./entries.ts";

/** Holds live in memory: a crash forgets them, and nobody was charged (NETWORK §7). */

/** Who pays, and the credit that is held. One per channel, or per trial key. */
export interface Account {
  readonly key: string;
  readonly payer: ClientPayer;
  openHolds: Nanoton;
  heldTokens: number;
  /** Reservations whose stream has not begun. */
  waiting: number;
}

export interface Reservation {
  readonly id: string;
  readonly account: Account;
  /** The link it was made on: the charge goes back there. */
  readonly link: Link;
  readonly hold: Nanoton;
  /** The number kept on {@link link} for its first stream; undefined once an `open` has named it. */
  routeId: number | undefined;
  readonly manifestRoot: string;
  readonly maxPromptBytes: number;
  readonly maxCompletionTokens: number;
  /** Terms as they were told to the client, by worker id. */
  readonly candidates: ReadonlyMap<string, OfferTerms>;
  /** The worker it is bound to by a hello or a stream that has not failed. */
  boundTo: string | undefined;
  phase: "waiting" | "streaming" | "over";
  /** Steady ms until which a stream may begin. */
  expiresAt: number;
  /** Whether a stream ended before its first token once already. */
  isRetried: boolean;
}

/** A stream may begin this long after the reservation (NETWORK §1). */
export const RESERVATION_MS = 30_000;

export class Reservations {
  readonly #accounts = new Map<string, Account>();
  readonly #byId = new Map<string, Reservation>();
  #trialHolds = 0n;

  get size(): number {
    return this.#byId.size;
  }

  /** Held by all trial keys together. */
  get trialHolds(): Nanoton {
    return this.#trialHolds;
  }

  account(payer: ClientPayer): Account {
    const key = "trial" in payer ? `trial ${payer.trial}` : payer.channel;
    return this.#accounts.get(key) ?? { key, payer, openHolds: 0n, heldTokens: 0, waiting: 0 };
  }

  add(reservation: Reservation): void {
    const { account } = reservation;
    this.#accounts.set(account.key, account);
    this.#byId.set(reservation.id, reservation);
    account.openHolds += reservation.hold;
    account.heldTokens += reservation.maxCompletionTokens;
    account.waiting++;
    if ("trial" in account.payer) this.#trialHolds += reservation.hold;
  }

  get(id: string): Reservation | undefined {
    return this.#byId.get(id);
  }

  streams(reservation: Reservation): void {
    reservation.phase = "streaming";
    reservation.account.waiting--;
  }

  /** Back to waiting, once, for the next candidate: the stream ended before its first token. @returns whether it is. */
  retry(reservation: Reservation, now: number): boolean {
    if (reservation.phase !== "streaming" || reservation.isRetried) return false;
    reservation.isRetried = true;
    reservation.boundTo = undefined;
    reservation.phase = "waiting";
    reservation.expiresAt = now + RESERVATION_MS;
    reservation.account.waiting++;
    return true;
  }

  /** Frees what it holds; for the second time it does nothing. */
  end(reservation: Reservation): void {
    if (reservation.phase === "over") return;
    const { account } = reservation;
    if (reservation.phase === "waiting") account.waiting--;
    reservation.phase = "over";
    account.openHolds -= reservation.hold;
    account.heldTokens -= reservation.maxCompletionTokens;
    if ("trial" in account.payer) this.#trialHolds -= reservation.hold;
    this.#byId.delete(reservation.id);
    if (account.openHolds === 0n && account.heldTokens === 0) this.#accounts.delete(account.key);
  }

  /** Ends those of a link that is gone and whose stream has not begun. */
  linkGone(link: Link): void {
    for (const reservation of this.#byId.values()) {
      if (reservation.link === link && reservation.phase === "waiting") this.end(reservation);
    }
  }

  expire(now: number): void {
    for (const reservation of this.#byId.values()) {
      if (reservation.phase === "waiting" && reservation.expiresAt <= now) this.end(reservation);
    }
  }
}

/** Whether an `open` gets the route it names, which nobody gets twice; one that names none gets a new one. */
export function takesRoute(reservation: Reservation, routeId: number | undefined, link: Link): boolean {
  if (routeId === undefined) return true;
  const isKept = routeId === reservation.routeId && link === reservation.link;
  reservation.routeId = undefined;
  return isKept;
}

/** The code of a hello or open that a reservation does not cover; undefined when it does. */
export function refusalFor(
  reservation: Reservation | undefined,
  workerId: string,
  now: number,
): FailureCode | undefined {
  if (reservation?.phase !== "waiting" || reservation.expiresAt <= now) return "reservation_unknown";
  if (!reservation.candidates.has(workerId)) return "unknown_worker";
  if (reservation.boundTo !== undefined && reservation.boundTo !== workerId) return "reservation_mismatch";
  return undefined;
}
