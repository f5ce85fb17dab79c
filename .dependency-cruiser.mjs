// The walls of the house. Each room lists the rooms it may enter; everything else is forbidden.
const rooms = {
  "protocol/": [],
  "contracts/": ["protocol/"],
  "gateway/": ["protocol/", "contracts/"],
  "client/": ["protocol/", "contracts/"],
  "worker/bridge": ["protocol/"],
  "worker/engine/": ["protocol/"],
  "worker/serving/": ["protocol/", "contracts/", "worker/engine/messages"],
  "worker/control/": ["protocol/", "contracts/", "worker/bridge", "worker/serving/", "worker/engine/messages"],
  "worker/(index|main)": ["protocol/", "contracts/", "worker/"],
  "electron/main/": ["protocol/", "worker/index", "worker/bridge"],
  "electron/preload/": ["worker/bridge"],
  "renderer/": ["protocol/", "worker/bridge"],
  "devnet/": ["protocol/", "contracts/", "gateway/", "client/", "worker/"],
  "bench/": ["protocol/", "contracts/", "gateway/", "client/", "worker/", "devnet/"],
  "tests/": ["protocol/", "contracts/", "gateway/", "client/", "worker/", "devnet/", "bench/", "scripts/"],
  "scripts/": [],
};
const anyRoom = `^(${Object.keys(rooms).join("|")})`;

// An engine is tested on models that devnet/ writes by code; its own code knows nothing of them.
const engineTests = "^worker/engine/.*\\.test\\.ts$";
const modelMakers = "devnet/(practice-model|random-model|scripted-model|gguf-writer)\\.ts$";

const wall = (name, from, room, doors) => ({
  name: `${name.replace(/\/$/, "")}-walls`,
  severity: "error",
  from,
  to: { path: anyRoom, pathNot: `^(${[room, ...doors].join("|")})` },
});

const walls = [
  ...Object.entries(rooms).map(([room, doors]) => wall(room, { path: `^${room}`, pathNot: engineTests }, room, doors)),
  wall("engine-tests", { path: engineTests }, "worker/engine/", [...rooms["worker/engine/"], modelMakers]),
];

export default {
  forbidden: [
    ...walls,
    {
      name: "use-the-front-door",
      comment:
        "From outside, a room is entered through its index.ts (contracts: one file a contract; bridge: itself; bench: also an engine by its entry; client: also without Node, and with deposits).",
      severity: "error",
      from: { path: "^([^/]+)/", pathNot: engineTests },
      to: {
        path: "^(protocol|gateway|client|devnet|worker)/",
        pathNot: [
          "^$1/",
          "^[^/]+/index\\.ts$",
          "^worker/bridge",
          "^client/browser\\.ts$",
          "^client/deposit/index\\.ts$",
          "^worker/engine/",
        ],
      },
    },
    {
      name: "asking-needs-no-ton-library",
      comment:
        "Who only asks and signs loads no contract, in a page least of all: what puts coins into a channel stands behind a door of its own.",
      severity: "error",
      from: { path: "^client/", pathNot: ["^client/(main\\.ts|deposit/)", "\\.(test|fake)\\.ts$"] },
      to: { path: ["^contracts/", "^client/deposit/", "node_modules/@ton/"] },
    },
    {
      name: "the-engine-has-a-door-of-its-own",
      comment: "An engine is entered by its messages, or in a benchmark and a test of the step gate by its entry.",
      severity: "error",
      from: { pathNot: "^worker/" },
      to: { path: "^worker/engine/", pathNot: "^worker/engine/(index|messages)\\.ts$" },
    },
    {
      name: "only-a-benchmark-enters-the-engine",
      comment: "Everyone else meets the engine through worker/index.ts.",
      severity: "error",
      from: { pathNot: "^(worker|bench)/" },
      to: { path: "^worker/engine/" },
    },
    {
      name: "bridge-is-types-only",
      comment: "renderer/ and preload see the main process through types; no code crosses.",
      severity: "error",
      from: { path: "^(renderer|electron/preload)/" },
      to: { path: "^worker/bridge", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "engine-is-another-process",
      comment:
        "Control and serving know the engine's messages, never its code: a model that crashes must not take the tray with it.",
      severity: "error",
      from: { path: "^worker/(control|serving)/", pathNot: "\\.test\\.ts$" },
      to: { path: "^worker/engine/", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "pure-rooms-do-no-io",
      comment: "protocol/ and renderer/ touch neither Node nor, by eslint and CSP, the network.",
      severity: "error",
      from: { path: "^(protocol|renderer)/", pathNot: "\\.test\\.ts$" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "the-engine-has-no-network",
      comment: "Native code that parses strangers' models gets no socket and no key.",
      severity: "error",
      from: { path: "^worker/engine/", pathNot: ["\\.test\\.ts$", "^worker/engine/upstream"] },
      to: { path: "^(node:)?(net|tls|http|https|http2|dgram|dns)$" },
    },
    {
      name: "protocol-needs-little",
      comment: "Every dependency here is shipped to the browser and audited by whoever trusts the seal.",
      severity: "error",
      from: { path: "^protocol/", pathNot: "\\.test\\.ts$" },
      to: {
        path: "node_modules/",
        pathNot: "node_modules/(@noble/|hpke/|@panva/hpke-noble/|@peculiar/x509/|zod/)",
      },
    },
    {
      name: "only-the-engine-knows-llama",
      comment: "Inference is native and may crash: it lives in a process of its own.",
      severity: "error",
      from: { pathNot: "^(worker/engine|bench|devnet|tests)/" },
      to: { path: "node_modules/(node-llama-cpp|@node-llama-cpp)/" },
    },
    {
      name: "electron-stays-in-its-shell",
      comment: "Only main and preload know Electron, so that the worker runs headless in devnet and CI.",
      severity: "error",
      from: { pathNot: "^electron/(main|preload)/" },
      to: { path: "(^|/)node_modules/electron(/|$)|^electron$" },
    },
    {
      name: "shipped-code-needs-shipped-dependencies",
      comment: "A devDependency is not there in the packaged app.",
      severity: "error",
      from: {
        path: "^(protocol|contracts|gateway|client|worker|electron)/",
        pathNot: "\\.(test|fake)\\.ts$",
      },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["type-only"], pathNot: "node_modules/@types/" },
    },
    {
      name: "tests-are-leaves",
      comment: "Nothing ships a test or a fake.",
      severity: "error",
      from: { pathNot: "\\.(test|fake)\\.ts$|^(tests|bench)/" },
      to: { path: "\\.(test|fake)\\.ts$" },
    },
    { name: "nothing-is-missing", severity: "error", from: {}, to: { couldNotResolve: true } },
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "no-orphans",
      severity: "error",
      from: { orphan: true, pathNot: ["\\.test\\.ts$", "(^|/)(index|main)\\.tsx?$", "^scripts/skipped-reporter"] },
      to: {},
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|\\.cache)/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default"],
      extensions: [".ts", ".tsx", ".js", ".mjs"],
    },
  },
};
