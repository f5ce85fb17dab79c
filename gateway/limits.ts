/** How much one peer may ask of a gateway (NETWORK §1, §4). Each has a code and a test. */
export interface Limits {
  /** Sockets from one network address, logged in or not. */
  readonly linksPerAddress: number;
  readonly workersPerOwner: number;
  /** Logins let in each second; the others are told when to come back. */
  readonly loginsPerSecond: number;
  /** Control messages a link may send each second beyond those a reservation pays for. */
  readonly controlPerSecond: number;
  /** ClientHellos passed on to one worker each second. */
  readonly handshakesPerSecond: number;
  /** HTTP documents one network address may put each second. */
  readonly putsPerSecond: number;
  /** Reservations of a client that wait for their stream. */
  readonly openReservations: number;
  readonly openTrialReservations: number;
  /** Memory for evidence and collateral documents. */
  readonly documentBytes: number;
}

export const LIMITS: Limits = {
  linksPerAddress: 16,
  workersPerOwner: 64,
  loginsPerSecond: 2000,
  controlPerSecond: 50,
  handshakesPerSecond: 20,
  putsPerSecond: 50,
  openReservations: 32,
  openTrialReservations: 4,
  documentBytes: 32 * 1024 * 1024,
};

/** What a trial key may use: whichever is reached first (NETWORK §4.8). Amounts in nanoton. */
export const TRIAL = {
  completionTokens: 20_000,
  perKey: 2_000_000n,
  perGatewayDay: 200_000_000n,
  keysPerBlockDay: 10,
} as const;

/** A worker whose owner is not named earns up to this, then gets no more work (NETWORK §4.7). Nanoton. */
export const UNNAMED_LIMIT = 200_000_000n;

/** Tokens that refill steadily up to one second's worth. Time is an argument, in ms of a clock that never jumps. */
export class RateLimit {
  readonly #perSecond: number;
  #tokens: number;
  #at: number;

  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
    this.#at = now;
  }

  /** Takes one token if there is one. */
  take(now: number): boolean {
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Gives a token back, for a message that turned out to be part of paid work. */
  giveBack(): void {
    this.#tokens += 1;
  }
}
