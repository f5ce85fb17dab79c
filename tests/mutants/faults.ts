/** One planted fault: a line made wrong, and the tests that must notice. */
export interface Fault {
  /** From the project's root, with forward slashes. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** Test files, at least one of which must fail. */
  readonly tests: readonly string[];
  /** What would go wrong in the world. */
  readonly why: string;
}

const usageTests = ["protocol/usage.test.ts"];

/** Add a line with every rule that money, trust or privacy hangs on; `npm run mutants -- --only N` tries the new one. */
export const FAULTS: readonly Fault[] = [
  {
    file: "protocol/usage.ts",
    find: "return (a + b - 1n) / b;",
    replace: "return a / b;",
    tests: usageTests,
    why: "the client's part rounds down, so a fee can vanish",
  },
  {
    file: "protocol/usage.ts",
    find: "const earned = sum / TOKENS_PER_PRICE;",
    replace: "const earned = ceilDivide(sum, TOKENS_PER_PRICE);",
    tests: usageTests,
    why: "the worker's part rounds up, so a gateway pays more than it took",
  },
  {
    file: "protocol/usage.ts",
    find: "BigInt(promptTokens - cachedTokens) * price.prompt +",
    replace: "BigInt(promptTokens) * price.prompt +",
    tests: usageTests,
    why: "cached tokens are charged twice",
  },
  {
    file: "protocol/usage.ts",
    find: "return { charge, earned, fee: charge - earned };",
    replace: "return { charge, earned, fee: (sum * BigInt(feeBps)) / (TOKENS_PER_PRICE * BPS) };",
    tests: usageTests,
    why: "charge is no longer earned + fee",
  },
  {
    file: "protocol/usage.ts",
    find: "promptTokens: maxPromptBytes + TEMPLATE_TOKENS,",
    replace: "promptTokens: maxPromptBytes,",
    tests: usageTests,
    why: "the hold forgets the chat template's own tokens and can be smaller than the charge",
  },
  {
    file: "protocol/usage.ts",
    find: "ask.cached * withFee <= maxPrice.cached * BPS &&",
    replace: "ask.cached * BPS <= maxPrice.cached * BPS &&",
    tests: usageTests,
    why: "a client pays more than its highest price for cached tokens",
  },
];

/**
 * The text with the fault in it.
 *
 * @throws {Error} when the table is stale: what it looks for is not there exactly once.
 */
export function plant(fault: Fault, text: string): string {
  const pieces = text.split(fault.find);
  if (pieces.length !== 2) {
    throw new Error(`stale fault: ${fault.file} has ${pieces.length - 1} of ${JSON.stringify(fault.find)}, not 1`);
  }
  return pieces.join(fault.replace);
}
