/** Ways in which a node fails, for tests of those who depend on one. */
export interface Fault {
  readonly type: FaultType;
  /** Default: every method. */
  readonly method?: string;
  /** How many answers it spoils. Default: all, until healed. */
  readonly times?: number;
}

export type FaultType =
  /** HTTP 429, as toncenter has it. */
  | "rate-limited"
  /** HTTP 500 and a reason. */
  | "failing"
  /** The question is read and never answered. */
  | "silent"
  /** The connection is cut. */
  | "cut"
  /** A page of a proxy in front of a node that is down, under 200. */
  | "html"
  /** JSON that stops in the middle, the connection with it. */
  | "truncated"
  /** An answer of the right envelope, the wrong inside. */
  | "wrong-types"
  /** To whatever is asked, somewhere else. */
  | "redirect"
  /** A message is taken with thanks, and never seen again: it happens. */
  | "loses-message";

/** The faults that are on, in the order they were put on. */
export class Faults {
  #faults: { readonly fault: Fault; left: number }[] = [];

  add(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? Infinity });
  }

  heal(): void {
    this.#faults = [];
  }

  /** The fault that the answer to this question has; it is used up by that. */
  take(method: string): FaultType | undefined {
    const found = this.#faults.find(({ fault }) => concerns(fault, method));
    if (found === undefined) return undefined;
    found.left--;
    this.#faults = this.#faults.filter(({ left }) => left > 0);
    return found.fault.type;
  }
}

function concerns({ type, method }: Fault, asked: string): boolean {
  if (type === "loses-message" && !asked.startsWith("sendBoc")) return false;
  return method === undefined || method === asked;
}
