/**
 * A reporter of node:test that writes the name of each test that did not run, one a line.
 *
 * @param {AsyncIterable<import("node:test/reporters").TestEvent>} source
 */
export async function* skippedTests(source) {
  for await (const event of source) {
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    if (event.data.skip !== undefined || event.data.todo !== undefined) yield `${event.data.name}\n`;
  }
}

// eslint-disable-next-line no-restricted-syntax -- node:test asks for a default export
export default skippedTests;
