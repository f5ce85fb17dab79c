import { Failure, type FailureCode } from "./failure.ts";

/** For `assert.throws` and `assert.rejects`: the error is a {@link Failure} with exactly this code. */
export function hasCode(code: FailureCode, pattern = /(?:)/): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof Failure)) throw new Error("not a Failure", { cause: error });
    if (error.code !== code) throw new Error(`code ${error.code}, not ${code}`, { cause: error });
    if (!pattern.test(error.message)) throw new Error(`"${error.message}" does not say ${pattern.source}`);
    return true;
  };
}

/** The code an act fails with, or `ok`. */
export function codeOfAct(act: () => unknown): FailureCode | "ok" {
  try {
    act();
    return "ok";
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
}
