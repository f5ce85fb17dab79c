/**
 * What `npm run NAME` can start: a TypeScript entry, and one line saying what it is for.
 * A new command is a line here and a line in package.json; a test holds the two together.
 *
 * @type {Readonly<Record<string, { readonly entry: string; readonly purpose: string }>>}
 */
export const COMMANDS = {
  demo: { entry: "devnet/main.ts", purpose: "the whole network on this machine, with one question asked through it" },
  devnet: { entry: "devnet/serve.ts", purpose: "a chain on this machine that stays up, with a faucet" },
  test: { entry: "scripts/test.ts", purpose: "types, lint, format, walls and all tests" },
  check: { entry: "scripts/check.ts", purpose: "types, lint, format and walls" },
  gateway: { entry: "gateway/main.ts", purpose: "a gateway" },
  worker: { entry: "worker/main.ts", purpose: "a worker without a desktop" },
  voucher: { entry: "worker/voucher.ts", purpose: "an owner's vouchers as a file (verify, export, import)" },
  client: { entry: "client/main.ts", purpose: "an OpenAI-compatible endpoint on this machine (serve)" },
  bench: { entry: "bench/main.ts", purpose: "a benchmark by name" },
  contracts: { entry: "scripts/contracts.ts", purpose: "the contracts' code, compiled anew from their sources" },
  mutants: { entry: "tests/mutants/main.ts", purpose: "planted faults, each of which must turn the tests red" },
};
