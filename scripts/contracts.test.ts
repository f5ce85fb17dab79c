import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { codeFile, compileContract, CONTRACTS, folder } from "./contracts.ts";

for (const name of CONTRACTS) {
  test(`the committed code of ${name} is what its source compiles to`, async () => {
    const committed: unknown = JSON.parse(readFileSync(codeFile(name), "utf8"));
    assert.deepEqual(await compileContract(name), committed, "run `npm run contracts` after changing a source");
  });
}

test("every source with code of its own is compiled, and nothing else is committed", () => {
  const sources = readdirSync(folder).filter((file) => /^[A-Z].*\.tolk$/.test(file));
  const expected = [...CONTRACTS].sort();
  assert.deepEqual(sources.map((file) => file.replace(".tolk", "")).sort(), expected);
  assert.deepEqual(
    readdirSync(`${folder}/code`).sort(),
    expected.map((name) => `${name}.json`),
  );
});

test("a source that does not compile is refused with the compiler's reason", async () => {
  await assert.rejects(compileContract("errors"), /errors\.tolk: .*onInternalMessage|main|entrypoint/);
});
