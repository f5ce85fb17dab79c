import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeGguf } from "./gguf-writer.ts";
import { cacheFolder } from "./practice-model.ts";
import { BENCHMARK_SHAPE, randomModel } from "./random-model.ts";

/** Rises with every change of the model's bytes. */
const VERSION = 2;

/**
 * The path of a model of 0.37 billion random weights in four bits (209 MB), written on first use: nearly as heavy as
 * the smallest real ones, so that what stands around it shows in proportion.
 */
export function ensureBenchmarkModel(): string {
  const path = join(cacheFolder(), `benchmark-${VERSION}.gguf`);
  // It is renamed into place when it is whole, so that to be there is to be whole.
  if (!existsSync(path)) {
    writeGguf(path, randomModel({ architecture: "qwen3", shape: BENCHMARK_SHAPE, type: "Q4_0", seed: 7 }));
  }
  return path;
}
