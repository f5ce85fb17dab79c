import { runVoucherCommand } from "./voucher-command.ts";
import { defaultDataFolder } from "./data-place.ts";

/** `npm run voucher -- verify|export|import FILE`: the process around `voucher-command.ts`. */
const { exitCode, output, complaint } = await runVoucherCommand(process.argv.slice(2), {
  dataFolder: defaultDataFolder(process.env, process.platform),
});
process.stdout.write(output);
process.stderr.write(complaint);
process.exitCode = exitCode;
