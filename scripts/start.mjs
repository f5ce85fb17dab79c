/**
 * `node scripts/start.mjs COMMAND …`: the one way in, on a fresh clone as on a prepared machine.
 *
 * Plain JavaScript that Node 18 runs with nothing installed. It installs what is missing, picks a Node that runs
 * TypeScript, and hands over. Standard output belongs to the command: what is said here goes to standard error.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "./commands.mjs";
import { installMissing } from "./install.mjs";
import { environmentFor, findNode } from "./node24.mjs";
import { runToTheEnd } from "./run.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** @param {string} [name] */
function usage(name) {
  const lines = Object.entries(COMMANDS).map(([command, { purpose }]) => `  ${command.padEnd(8)} ${purpose}`);
  const said = name === undefined ? "" : `There is no command "${name}".\n`;
  return `${said}Usage: npm run COMMAND -- …\n${lines.join("\n")}`;
}

/** @param {string[]} argv */
async function main([name, ...args]) {
  const command = name === undefined || !Object.hasOwn(COMMANDS, name) ? undefined : COMMANDS[name];
  if (command === undefined) return complain(usage(name), 64);
  const entry = join(root, command.entry);
  if (!existsSync(entry)) return complain(`${command.entry} is not in this copy of the project.`, 66);

  await installMissing(root);
  const node = findNode(root);
  return runToTheEnd(node, ["--disable-warning=ExperimentalWarning", entry, ...args], environmentFor(node, root));
}

/** @param {string} message @param {number} code */
function complain(message, code) {
  process.stderr.write(`${message}\n`);
  return code;
}

process.exitCode = await main(process.argv.slice(2)).catch((/** @type {unknown} */ error) =>
  complain(error instanceof Error ? error.message : String(error), 70),
);
