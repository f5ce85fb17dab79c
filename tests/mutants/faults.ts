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

const properties = ["contracts/properties.test.ts"];
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
  // Sealing
  {
    file: "protocol/frames.ts",
    find: "aad[37] = type;",
    replace: "aad[37] = 0;",
    tests: ["protocol/frames.test.ts"],
    why: "the end mark is not authenticated: a relay turns DATA into FIN and cuts an answer that looks whole",
  },
  {
    file: "protocol/frames.ts",
    find: "writeU64(aad, 21, keys.streamId);",
    replace: "writeU64(aad, 21, 1);",
    tests: ["protocol/frames.test.ts"],
    why: "frames are no longer bound to their stream",
  },
  {
    file: "protocol/frames.ts",
    find: 'if (this.#ended === undefined) throw new Failure("truncated");',
    replace: "if (this.#ended === undefined) return FIN;",
    tests: ["protocol/frames.test.ts"],
    why: "a stream without FIN passes as complete",
  },
  {
    file: "protocol/frames.ts",
    find: 'if (this.#ended !== undefined) throw new Failure("data_after_fin");',
    replace: "",
    tests: ["protocol/frames.test.ts"],
    why: "bytes after the end are delivered",
  },
  {
    file: "protocol/frames.ts",
    find: 'for (let i = end; i < plaintext.length; i++) if (plaintext[i] !== 0) throw new Failure("bad_padding");',
    replace: "",
    tests: ["protocol/frames.test.ts"],
    why: "padding can carry what nobody sees",
  },
  {
    file: "protocol/sealed.ts",
    find: "const once = unused;\n      unused = undefined;",
    replace: "const once = unused;",
    tests: ["protocol/sealed.test.ts"],
    why: "the session's key is kept after its one use: no forward secrecy, and enc can be replayed",
  },
  {
    file: "protocol/keys.ts",
    find: "{ zip215: false }",
    replace: "{ zip215: true }",
    tests: ["protocol/keys.test.ts"],
    why: "signatures that other implementations refuse are accepted",
  },
  // Evidence
  {
    file: "protocol/evidence/document.ts",
    find: "return TIERS.indexOf(tier) >= TIERS.indexOf(minimum);",
    replace: "return TIERS.indexOf(tier) <= TIERS.indexOf(minimum);",
    tests: ["protocol/evidence/document.test.ts"],
    why: "the order of tiers is turned round: an ordinary PC passes for hardware isolation",
  },
  {
    file: "protocol/evidence/verify.ts",
    find: 'refuseUnless(signatureHolds(document), "evidence_sig");',
    replace: "",
    tests: ["protocol/evidence/verify.test.ts"],
    why: "anybody can write evidence in a worker's name",
  },
  {
    file: "protocol/evidence/verify.ts",
    find: "const tier = tierReaches(verdict.tier, claims.tier) ? claims.tier : verdict.tier;",
    replace: "const tier = claims.tier;",
    tests: ["protocol/evidence/verify.test.ts"],
    why: "the claimed tier is believed",
  },
  // Vouchers and receipts
  {
    file: "protocol/voucher.ts",
    find: 'return hash(label("payout chain"), chain, receiptHash);',
    replace: 'return hash(label("charge chain"), chain, receiptHash);',
    tests: ["protocol/voucher.test.ts"],
    why: "what a client owes and what an owner gets are audited by one chain",
  },
  {
    file: "protocol/receipt.ts",
    find: "if (usage.cachedTokens > usage.promptTokens) throw",
    replace: "if (usage.cachedTokens > 2 * usage.promptTokens) throw",
    tests: ["protocol/receipt.test.ts"],
    why: "a receipt with more cached than prompt tokens charges a negative amount",
  },
  {
    file: "protocol/sealed-messages.ts",
    find: 'return this.#ids + (finish === "stop" ? 1 : 0);',
    replace: "return this.#ids + 1;",
    tests: ["protocol/sealed-messages.test.ts"],
    why: "a cut answer is charged an end token the model never made",
  },
  {
    file: "protocol/strict-json.ts",
    find: 'if (keys.has(key) || key === "__proto__") throw',
    replace: 'if (key === "__proto__") throw',
    tests: ["protocol/strict-json.test.ts"],
    why: "two readers of one signed document may see two different values",
  },
  // The worker's side
  {
    file: "worker/serving/vouchers.ts",
    find: "if (kept !== undefined && payout.total < kept.payout.total)",
    replace: "if (kept === undefined && payout.total < 0n)",
    tests: ["worker/serving/vouchers.test.ts"],
    why: "a gateway takes a promise back",
  },
  {
    file: "worker/serving/vouchers.ts",
    find: "await this.#write({ voucher, payout });",
    replace: "void this.#write({ voucher, payout });",
    tests: ["worker/serving/vouchers.test.ts"],
    why: "a voucher is acknowledged before it is on the disk",
  },
  {
    file: "worker/serving/request.ts",
    find: "outer.offerHash === terms.offerHash &&",
    replace: "",
    tests: ["worker/serving/request.test.ts"],
    why: "a gateway sells a request at a price the client did not seal",
  },
  {
    file: "worker/serving/request.ts",
    find: 'if (outer.maxTokens > terms.maxCompletionTokens) throw new Failure("reservation_exceeded");',
    replace: "",
    tests: ["worker/serving/request.test.ts"],
    why: "a client gets more than was held for it",
  },
  // The gateway's side
  {
    file: "gateway/metering.ts",
    find: 'refuseUnless(equalBytes(receipt.responseHash, stream.responseHash), "another response");',
    replace: "",
    tests: ["gateway/metering.test.ts"],
    why: "a worker is paid for an answer nobody was sent",
  },
  {
    file: "gateway/metering.ts",
    find: "stream.maxCompletionTokens,\n      stream.deliveredTokens",
    replace: "stream.deliveredTokens",
    tests: ["gateway/metering.test.ts"],
    why: "a claim above the reservation is not clipped",
  },
  {
    file: "gateway/clients.ts",
    find: "peer.link.budget.giveBack();\n      reservation.boundTo = undefined;",
    replace: "peer.link.budget.giveBack();",
    tests: ["gateway/streams.test.ts"],
    why: "a reservation stays bound to a worker that had no room for it",
  },
  {
    file: "gateway/exposure.ts",
    find: "exposure.openHolds + exposure.uncountersigned + exposure.hold",
    replace: "exposure.openHolds + exposure.uncountersigned",
    tests: ["gateway/exposure.test.ts"],
    why: "the hold of the request itself is forgotten, so credit can be overdrawn",
  },
  {
    file: "gateway/agreements.ts",
    find: "if (signed > book.signedFloor) book.signedFloor = signed;",
    replace: "",
    tests: ["gateway/ledger.test.ts"],
    why: "after a dispute a total is signed a second time, over other receipts",
  },
  {
    file: "gateway/books.ts",
    find: 'refuseUnless(charges === ledger.sums.charges, "client totals are not the charges");',
    replace: "",
    tests: ["gateway/ledger.test.ts"],
    why: "books that do not add up are loaded as if they did",
  },
  // The owner's wallet
  {
    file: "worker/control/ton-connect/guard.ts",
    find: "if (from !== wallet) return [];",
    replace: "",
    tests: ["worker/control/ton-connect/guard.test.ts"],
    why: "anyone who saw the link can answer in the wallet's name or end its session",
  },
  {
    file: "worker/control/wallet-proof.ts",
    find: "domains: [domain]",
    replace: "domains: [proof.domain]",
    tests: ["worker/control/wallet-proof.test.ts"],
    why: "a proof that another site asked for names the owner",
  },
  {
    file: "worker/control/wallet-proof.ts",
    find: "networkId !== expected.networkId",
    replace: "false",
    tests: ["worker/control/wallet-proof.test.ts"],
    why: "a wallet of another network becomes the owner's",
  },
  {
    file: "worker/control/withdrawal.ts",
    find: "cover.set(gateway, left - taken);",
    replace: "",
    tests: ["worker/control/withdrawal.test.ts"],
    why: "two claims ask one gateway for the same coins, and one comes back unpaid",
  },
  {
    file: "worker/serving/owners.ts",
    find: "from.moveCountTo(to);\n",
    replace: "",
    tests: ["worker/serving/owner.test.ts"],
    why: "what was earned before a name is no longer owed by anybody",
  },
  // The contracts
  {
    file: "contracts/WorkerChannel.tolk",
    find: "            storage.paid += amount;\n            storage.save();\n",
    replace: "            storage.save();\n",
    tests: properties,
    why: "one voucher is paid again and again",
  },
  {
    file: "contracts/WorkerChannel.tolk",
    find: "- in.valueCoins - debt;",
    replace: "- in.valueCoins;",
    tests: properties,
    why: "a channel that owes rent counts as paid what the gateway could not pay",
  },
  {
    file: "contracts/Gateway.tolk",
    find: "payOut(msg.workerOwner, msg.queryId, msg.amount);",
    replace: "payOut(in.senderAddress, msg.queryId, msg.amount);",
    tests: properties,
    why: "a payout ends in the channel, which has no way to give it to its owner",
  },
  {
    file: "contracts/Gateway.tolk",
    find: "            storage.drawn += fromStake;\n",
    replace: "",
    tests: properties,
    why: "what payouts took from the stake is never brought back, and a withdrawal frees it",
  },
  {
    file: "contracts/Gateway.tolk",
    find: "storage.pending = min(storage.pending, storage.pool);",
    replace: "",
    tests: properties,
    why: "income after a notice leaves under it",
  },
  {
    file: "contracts/ClientChannel.tolk",
    find: "refundAll(storage.config.load().owner, msg.queryId);",
    replace: "refundAll(in.senderAddress, msg.queryId);",
    tests: properties,
    why: "whoever finishes a close gets the deposit",
  },
  {
    file: "contracts/ClientChannel.tolk",
    find: "self.acked = max(self.acked, voucher.total);",
    replace: "self.acked = voucher.total;",
    tests: properties,
    why: "an older countersignature takes a newer one back",
  },
  {
    file: "contracts/ClientChannel.tolk",
    find: "storage.balance = min(storage.balance, max(contract.getOriginalBalance() - valueCoins, 0));",
    replace: "",
    tests: properties,
    why: "a channel promises coins that rent has eaten",
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
