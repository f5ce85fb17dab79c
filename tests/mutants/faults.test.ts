import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { basename, join } from "node:path";
import { test } from "node:test";
import { CONTRACTS, compileContract } from "../../scripts/contracts.ts";
import { type Fault, FAULTS, plant } from "./faults.ts";

const root = join(import.meta.dirname, "../..");

test("every planted fault still finds its line, exactly once", () => {
  for (const fault of FAULTS) {
    const text = readFileSync(join(root, fault.file), "utf8");
    assert.notEqual(plant(fault, text), text, `${fault.file}: ${fault.why}`);
  }
});

test("a planted fault is wrong code, not broken code", async () => {
  for (const fault of FAULTS) {
    const planted = plant(fault, readFileSync(join(root, fault.file), "utf8"));
    const broken = `${fault.file}: ${fault.why}`;
    if (fault.file.endsWith(".tolk")) await assert.doesNotReject(compileWith(fault, planted), broken);
    else assert.doesNotThrow(() => stripTypeScriptTypes(planted), broken);
  }
});

/** Every contract that the source may be part of. */
async function compileWith({ file }: Fault, planted: string): Promise<void> {
  const own = CONTRACTS.filter((name) => basename(file) === `${name}.tolk`);
  const read = (path: string): string =>
    path === basename(file) ? planted : readFileSync(join(root, "contracts", path), "utf8");
  for (const name of own.length > 0 ? own : CONTRACTS) await compileContract(name, read);
}

test("every planted fault names tests that exist", () => {
  for (const { tests, why } of FAULTS) {
    assert.notEqual(tests.length, 0, why);
    for (const file of tests) assert.ok(existsSync(join(root, file)), `${file} is not there: ${why}`);
  }
});

test("a fault whose line is gone or there twice is refused", () => {
  const fault = { file: "a.ts", find: "one", replace: "two", tests: [], why: "" };
  assert.equal(plant(fault, "one thing"), "two thing");
  assert.throws(() => plant(fault, "nothing"), /has 0 of "one"/);
  assert.throws(() => plant(fault, "one and one"), /has 2 of "one"/);
});
