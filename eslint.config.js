// What paths cannot say; what they can is in .dependency-cruiser.mjs.
import tseslint from "typescript-eslint";

const io = ["fetch", "WebSocket", "EventSource", "XMLHttpRequest", "process", "Buffer"];
const clocksAndDice = ["performance", "setTimeout", "setInterval", "setImmediate"];

/** Globals a pure room may not reach for, by name and through globalThis. */
const noGlobals = (names, why) => names.map((name) => ({ name, message: why }));
const noProperties = (names, why) => names.map((property) => ({ object: "globalThis", property, message: why }));

const noIo = "A pure room does no input or output: take it as an argument.";
const noClock = "Time and randomness are arguments here.";

const style = [
  { selector: "ExportDefaultDeclaration", message: "Named exports only." },
  { selector: "ExportSpecifier[exported.name='default']", message: "Named exports only." },
  { selector: "TSEnumDeclaration", message: "No enum: a union of strings, or a table with `as const`." },
];
const ambientClock = [
  { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: noClock },
  { selector: "CallExpression[callee.property.name='getRandomValues']", message: noClock },
  { selector: "CallExpression[callee.property.name='randomUUID']", message: noClock },
];

export default tseslint.config(
  { ignores: ["node_modules/", "dist/", ".cache/"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["**/*.ts", "scripts/*.mjs"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "no-restricted-syntax": ["error", ...style],
      eqeqeq: "error",
      "no-console": "off",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/consistent-type-exports": "error",
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
      ],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", ignoreRestSiblings: true }],
      // Numbers, bigints and booleans read well in a template; objects do not.
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true, allowAny: false, allowNullish: false },
      ],
      // `() => socket.close()` and `return refuse(code)` are idiomatic where nothing is returned.
      "@typescript-eslint/no-confusing-void-expression": [
        "error",
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      // There are no enums to assign to, and looking for them is a tenth of the time.
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      // node:test returns a promise from test() that its runner awaits.
      "@typescript-eslint/no-floating-promises": [
        "error",
        {
          allowForKnownSafeCalls: [
            { from: "package", package: "node:test", name: ["test", "describe", "it", "suite", "default"] },
          ],
        },
      ],
      // Ports are implemented by object literals: a method there has no `this` to lose.
      "@typescript-eslint/unbound-method": "off",
      // An async function of a port may have nothing to wait for.
      "@typescript-eslint/require-await": "off",
    },
  },
  {
    files: ["protocol/**/*.ts", "renderer/**/*.{ts,tsx}"],
    ignores: ["**/*.test.ts"],
    rules: {
      "no-restricted-globals": ["error", ...noGlobals(io, noIo)],
      "no-restricted-properties": ["error", ...noProperties(io, noIo)],
    },
  },
  {
    files: ["protocol/**/*.ts"],
    ignores: ["**/*.test.ts"],
    rules: {
      "no-restricted-globals": ["error", ...noGlobals(io, noIo), ...noGlobals(clocksAndDice, noClock)],
      "no-restricted-properties": [
        "error",
        ...noProperties([...io, ...clocksAndDice], noIo),
        { object: "Date", property: "now", message: noClock },
        { object: "Math", property: "random", message: noClock },
      ],
      "no-restricted-syntax": ["error", ...style, ...ambientClock],
    },
  },
  {
    files: ["**/*.{js,mjs}"],
    ignores: ["eslint.config.js", ".dependency-cruiser.mjs", "scripts/*.mjs"],
    rules: { "no-restricted-syntax": ["error", ...style], eqeqeq: "error" },
  },
);
